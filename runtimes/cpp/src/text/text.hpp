// How values are shown in messages: joined, quoted and cut as the Python runtime shows them.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace rr {

/// Returns the texts of all arguments, one after another.
template <typename... Parts>
std::string cat(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return std::move(out).str();
}

/// Returns a text in single quotes, with what would not be seen escaped.
std::string quoted(std::string_view text);

/// Returns the shortest decimal text of a number that reads as the same number, such as 0.1, 1e-05 or 2.0.
std::string shown(double number);

/// Returns a number with at most so many significant digits, as "%g" has it.
std::string rounded(double number, int digits = 6);

/// Returns the texts with a separator between them.
std::string joined(const std::vector<std::string>& texts, std::string_view separator = ", ");

/// Returns whole numbers as `[1, 0, -1]`.
template <typename Numbers>
std::string listed(const Numbers& numbers, const char* open = "[", const char* close = "]") {
    std::ostringstream out;
    out << open;
    const char* before = "";
    for (const auto& number : numbers) {
        out << before << number;
        before = ", ";
    }
    out << close;
    return std::move(out).str();
}

/// Returns the first four texts, and how many more there are.
std::string few(const std::vector<std::string>& texts);

/// Returns the name that is most alike, "" where none is: a slip of the keyboard, no guess.
std::string nearest(std::string_view name, const std::vector<std::string>& known);

/// Tells whether bytes are well-formed UTF-8.
bool is_utf8(std::string_view bytes) noexcept;

}  // namespace rr
