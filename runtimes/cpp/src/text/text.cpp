// How values are shown in messages.
#include "text/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace rr {

std::string quoted(std::string_view text) {
    const bool single = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char mark = single ? '"' : '\'';
    std::string out(1, mark);
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == mark || c == '\\') out += {'\\', c};
        else if (c == '\n') out += "\\n";
        else if (c == '\r') out += "\\r";
        else if (c == '\t') out += "\\t";
        else if (byte < 0x20 || byte == 0x7F) {
            char code[8];
            std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(byte));
            out += code;
        } else out += c;
    }
    return out + mark;
}

std::string shown(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
    char buffer[64];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
    const std::string text(buffer, end);
    const int exponent = std::stoi(text.substr(text.find('e') + 1));
    if (exponent < -4 || exponent >= 16) return text;
    const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed).ptr;
    const std::string plain(buffer, fixed);
    return plain.find('.') == plain.npos ? plain + ".0" : plain;
}

std::string rounded(double number, int digits) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, number);
    return buffer;
}

std::string joined(const std::vector<std::string>& texts, std::string_view separator) {
    std::string out;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (i) out += separator;
        out += texts[i];
    }
    return out;
}

std::string few(const std::vector<std::string>& texts) {
    constexpr std::size_t most = 4;
    if (texts.size() <= most) return joined(texts);
    return joined({texts.begin(), texts.begin() + most}) + cat(" and ", texts.size() - most, " more");
}

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
    std::string found;
    std::size_t least = std::max<std::size_t>(1, name.size() / 3) + 1;
    for (const auto& other : known) {
        std::vector<std::size_t> row(other.size() + 1);
        for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= name.size(); ++i) {  // Levenshtein's distance, one row at a time
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j < row.size(); ++j) {
                const std::size_t above = row[j];
                row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (name[i - 1] != other[j - 1])});
                diagonal = above;
            }
        }
        if (row.back() < least) {
            least = row.back();
            found = other;
        }
    }
    return found;
}

bool is_utf8(std::string_view bytes) noexcept {
    for (std::size_t i = 0; i < bytes.size();) {
        const auto at = [&](std::size_t k) { return static_cast<unsigned char>(bytes[k]); };
        const unsigned first = at(i);
        const std::size_t more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : 4;
        if (more == 4 || i + more >= bytes.size()) return false;
        unsigned code = more == 0 ? first : first & (0x3FU >> more);
        for (std::size_t k = 1; k <= more; ++k) {
            if (at(i + k) >> 6 != 2) return false;
            code = code << 6 | (at(i + k) & 0x3F);
        }
        const unsigned least[] = {0, 0x80, 0x800, 0x10000};
        if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
        i += more + 1;
    }
    return true;
}

}  // namespace rr
