// JSON from others, read strictly: keys once, bounded depth, no NaN; the order of keys is kept.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rr {

/// A JSON value, small where it is a number, as strangers may send millions of them. A whole number that does not fit
/// into an int64 keeps its digits only (`big`).
class Json {
public:
    enum class Type : std::uint8_t { null, boolean, integer, big, real, text, list, object };

    Json() = default;
    static Json of(bool value);
    static Json of(std::int64_t value);
    static Json of(double value);
    static Json of_text(std::string text, Type type = Type::text);
    static Json empty(Type type);  ///< a list or an object

    Type type() const noexcept { return type_; }
    bool is(Type type) const noexcept { return type_ == type; }
    bool is_whole() const noexcept { return type_ == Type::integer || type_ == Type::big; }
    bool is_number() const noexcept { return is_whole() || type_ == Type::real; }
    bool boolean() const noexcept { return number_.integer != 0; }
    std::int64_t integer() const noexcept { return number_.integer; }
    double real() const noexcept;  ///< of any number; of one that is too large infinity

    const std::string& text() const noexcept { return held_->text; }  ///< of a text; the digits of a big number
    const std::vector<Json>& items() const noexcept { return held_->items; }        ///< of a list or an object
    const std::vector<std::string>& keys() const noexcept { return held_->keys; }  ///< one for each item of an object
    const Json* find(std::string_view key) const noexcept;  ///< of an object; nullptr where there is none

    Json& add(Json value);                    ///< to a list or an object, whose key was added before
    void add_key(std::string key) { held_->keys.push_back(std::move(key)); }

    /// Returns the value as Python would show it, cut to a bounded length.
    std::string shown(int depth = 6) const;

    /// Returns the name of Python's type of the value.
    const char* type_name() const noexcept;

private:
    struct Held {
        std::string text;
        std::vector<Json> items;
        std::vector<std::string> keys;
    };
    union Number {
        std::int64_t integer;
        double real;
    };
    Type type_ = Type::null;
    Number number_{0};
    std::unique_ptr<Held> held_;
};

/// The reason why a text is no JSON.
struct JsonProblem {
    std::string what;
};

constexpr std::size_t MOST_JSON_DEPTH = 200;

/// Returns the value of a text; throws JsonProblem where it is none, where a key stands twice in an object, or where it
/// is nested deeper than `MOST_JSON_DEPTH`.
Json read_json(std::string_view text);

}  // namespace rr
