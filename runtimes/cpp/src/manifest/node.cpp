// A JSON value and its place.
#include "manifest/node.hpp"

#include <algorithm>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

void Node::fail(const std::string& expected) const { fail(expected, value_->shown()); }

void Node::fail(const std::string& expected, const std::string& got) const {
    const std::string at = place_.empty() ? *where_ : cat(*where_, ": ", place_);
    throw BundleError(cat(at, ": expected ", expected, ", got ", got, "; ", DAMAGED));
}

Node Node::key(const std::string& name) const {
    if (auto found = optional(name)) return *found;
    throw BundleError(cat(*where_, ": ", below(name), ": expected this key, got none; ", DAMAGED));
}

std::optional<Node> Node::optional(const std::string& name) const {
    if (!value_->is(Json::Type::object)) fail("an object");
    const Json* found = value_->find(name);
    return found ? std::optional<Node>(Node(*found, *where_, below(name))) : std::nullopt;
}

std::vector<std::pair<std::string, Node>> Node::items() const {
    if (!value_->is(Json::Type::object)) fail("an object");
    std::vector<std::pair<std::string, Node>> found;
    for (std::size_t i = 0; i < value_->items().size(); ++i) {
        const auto& name = value_->keys()[i];
        found.emplace_back(name, Node(value_->items()[i], *where_, below(name)));
    }
    return found;
}

std::vector<Node> Node::elements() const {
    if (!value_->is(Json::Type::list)) fail("a list");
    std::vector<Node> found;
    found.reserve(value_->items().size());
    for (std::size_t i = 0; i < value_->items().size(); ++i)
        found.emplace_back(value_->items()[i], *where_, cat(place_, "[", i, "]"));
    return found;
}

const Node& Node::at_most(std::size_t count) const {
    if (value_->is(Json::Type::list) && value_->items().size() > count)
        fail(cat("a list of at most ", count, " elements instead of ", value_->items().size()));
    return *this;
}

std::string Node::text() const {
    if (!value_->is(Json::Type::text) || value_->text().empty()) fail("a text that is not empty");
    return value_->text();
}

std::string Node::one_of(const std::vector<std::string>& words) const {
    if (value_->is(Json::Type::text) && std::find(words.begin(), words.end(), value_->text()) != words.end())
        return value_->text();
    std::vector<std::string> shown;
    for (const auto& word : words) shown.push_back(rr::quoted(word));
    fail(joined(shown, " or "));
}

std::int64_t Node::integer(std::int64_t low, std::int64_t high) const {
    if (!value_->is(Json::Type::integer) || value_->integer() < low || value_->integer() > high)
        fail(high == std::numeric_limits<std::int64_t>::max() ? cat("an integer >= ", low)
                                                              : cat("an integer in ", low, "..", high));
    return value_->integer();
}

double Node::number(double low, double high) const {
    if (!value_->is_number() || !(low <= value_->real() && value_->real() <= high))
        fail(cat("a number in [", rounded(low), ", ", rounded(high), "]"));
    return value_->real();
}

std::vector<std::string> Node::texts() const {
    return each([](const Node& node) { return node.text(); });
}

}  // namespace rr
