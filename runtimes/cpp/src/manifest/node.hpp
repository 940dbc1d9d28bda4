// A JSON value and its place, so that each complaint says where it is.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manifest/json.hpp"

namespace rr {

inline constexpr const char* DAMAGED = "the manifest is damaged, export the model again";

/// What is read of a value, or a BundleError that says where what was expected.
class Node {
public:
    Node(const Json& value, const std::string& where, std::string place)
        : value_(&value), where_(&where), place_(std::move(place)) {}

    const Json& value() const noexcept { return *value_; }
    const std::string& where() const noexcept { return *where_; }
    const std::string& place() const noexcept { return place_; }
    bool is_null() const noexcept { return value_->is(Json::Type::null); }

    [[noreturn]] void fail(const std::string& expected) const;
    [[noreturn]] void fail(const std::string& expected, const std::string& got) const;

    Node key(const std::string& name) const;                     ///< of a key that must be there
    std::optional<Node> optional(const std::string& name) const;  ///< of a key, nothing where there is none
    std::vector<std::pair<std::string, Node>> items() const;      ///< all keys of an object
    std::vector<Node> elements() const;                           ///< all elements of a list
    const Node& at_most(std::size_t count) const;                 ///< itself, a list that is not longer

    template <typename Read>
    auto each(Read read) const {
        std::vector<std::decay_t<decltype(read(*this))>> found;
        for (const Node& element : elements()) found.push_back(read(element));
        return found;
    }

    std::string text() const;  ///< a text that is not empty
    std::string one_of(const std::vector<std::string>& words) const;
    std::int64_t integer(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max()) const;
    double number(double low, double high) const;
    std::size_t index() const { return static_cast<std::size_t>(integer(0)); }
    std::vector<std::string> texts() const;

private:
    std::string below(const std::string& name) const { return place_.empty() ? name : place_ + "." + name; }
    const Json* value_;
    const std::string* where_;
    std::string place_;
};

}  // namespace rr
