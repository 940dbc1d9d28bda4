// Reads JSON with nlohmann's event parser, which keeps no call stack, into values of our own.
#include "manifest/json.hpp"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "text/text.hpp"

namespace rr {

namespace {

using Parser = nlohmann::json;

// Builds a value from events; the first problem ends it.
class Builder : public nlohmann::json_sax<Parser> {
public:
    bool null() override { return put({}); }
    bool boolean(bool value) override { return put(Json::of(value)); }
    bool number_integer(number_integer_t value) override { return put(Json::of(std::int64_t{value})); }
    bool number_unsigned(number_unsigned_t value) override {
        if (value <= static_cast<number_unsigned_t>(INT64_MAX)) return put(Json::of(static_cast<std::int64_t>(value)));
        return put(Json::of_text(std::to_string(value), Json::Type::big));
    }
    bool number_float(number_float_t value, const string_t& text) override {
        const bool whole = text.find_first_of(".eE") == text.npos;
        return put(whole ? Json::of_text(text, Json::Type::big) : Json::of(double{value}));
    }
    bool string(string_t& value) override { return put(Json::of_text(std::move(value))); }
    bool binary(binary_t&) override { return fail("binary values"); }
    bool start_object(std::size_t) override { return open(Json::Type::object); }
    bool start_array(std::size_t) override { return open(Json::Type::list); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        if (!seen_.back().insert(name).second) return fail(cat("the key ", rr::quoted(name), " twice"));
        stack_.back()->add_key(std::move(name));
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
        return fail(error.what());
    }

    Json root;
    std::string problem;

private:
    bool fail(std::string what) {
        if (problem.empty()) problem = std::move(what);
        return false;
    }
    bool put(Json value) {
        if (stack_.empty()) root = std::move(value);
        else stack_.back()->add(std::move(value));
        return true;
    }
    bool open(Json::Type type) {
        if (stack_.size() >= MOST_JSON_DEPTH) return fail(cat("values nested deeper than ", MOST_JSON_DEPTH));
        // Nothing is added to a value while one of its elements is open, so each stays where it is.
        Json& place = stack_.empty() ? root = Json::empty(type) : stack_.back()->add(Json::empty(type));
        stack_.push_back(&place);
        seen_.emplace_back();
        return true;
    }
    bool close() {
        stack_.pop_back();
        seen_.pop_back();
        return true;
    }
    std::vector<Json*> stack_;
    std::vector<std::unordered_set<std::string>> seen_;
};

std::string cut(const std::string& text) {
    constexpr std::size_t most = 60, begin = 28, end = 29;
    const std::string whole = rr::quoted(text);
    return whole.size() <= most ? whole : whole.substr(0, begin) + "..." + whole.substr(whole.size() - end);
}

}  // namespace

Json Json::of(bool value) {
    Json made;
    made.type_ = Type::boolean;
    made.number_.integer = value;
    return made;
}

Json Json::of(std::int64_t value) {
    Json made;
    made.type_ = Type::integer;
    made.number_.integer = value;
    return made;
}

Json Json::of(double value) {
    Json made;
    made.type_ = Type::real;
    made.number_.real = value;
    return made;
}

Json Json::of_text(std::string text, Type type) {
    Json made = empty(type);
    made.held_->text = std::move(text);
    return made;
}

Json Json::empty(Type type) {
    Json made;
    made.type_ = type;
    made.held_ = std::make_unique<Held>();
    return made;
}

Json& Json::add(Json value) { return held_->items.emplace_back(std::move(value)); }

double Json::real() const noexcept {
    if (type_ == Type::integer) return static_cast<double>(number_.integer);
    return type_ == Type::big ? std::strtod(held_->text.c_str(), nullptr) : number_.real;
}

const Json* Json::find(std::string_view key) const noexcept {
    const auto found = std::find(keys().begin(), keys().end(), key);
    return found == keys().end() ? nullptr : &items()[static_cast<std::size_t>(found - keys().begin())];
}

std::string Json::shown(int depth) const {
    switch (type_) {
        case Type::null: return "None";
        case Type::boolean: return boolean() ? "True" : "False";
        case Type::integer: return std::to_string(integer());
        case Type::big:
            return text().size() <= 40 ? text() : text().substr(0, 18) + "..." + text().substr(text().size() - 19);
        case Type::real: return rr::shown(real());
        case Type::text: return cut(text());
        case Type::list:
        case Type::object: break;
    }
    const bool list = type_ == Type::list;
    const std::size_t most = list ? 6 : 4;
    if (items().empty()) return list ? "[]" : "{}";
    if (depth <= 0) return list ? "[...]" : "{...}";
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < items().size() && i < most; ++i)
        parts.push_back((list ? "" : cut(keys()[i]) + ": ") + items()[i].shown(depth - 1));
    if (items().size() > most) parts.emplace_back("...");
    return (list ? "[" : "{") + joined(parts) + (list ? "]" : "}");
}

const char* Json::type_name() const noexcept {
    switch (type_) {
        case Type::null: return "NoneType";
        case Type::boolean: return "bool";
        case Type::integer:
        case Type::big: return "int";
        case Type::real: return "float";
        case Type::text: return "str";
        case Type::list: return "list";
        case Type::object: return "dict";
    }
    return "object";
}

Json read_json(std::string_view text) {
    constexpr std::size_t most = 200;  // bytes of the reason, which quotes what strangers wrote
    if (text.substr(0, 3) == "\xEF\xBB\xBF") throw JsonProblem{"a mark of the order of bytes before it"};  // the parser passes it over
    Builder builder;
    const bool whole = Parser::sax_parse(text.begin(), text.end(), &builder);
    if (!whole || !builder.problem.empty()) {
        std::string why = builder.problem.empty() ? "no JSON" : builder.problem;
        if (why.size() > most) why = why.substr(0, most) + "...";
        throw JsonProblem{why};
    }
    return std::move(builder.root);
}

}  // namespace rr
