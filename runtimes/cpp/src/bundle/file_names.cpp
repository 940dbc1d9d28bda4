// Names of files that a bundle may have.
#include "bundle/file_names.hpp"

#include <algorithm>
#include <map>

namespace rr {

namespace {

std::string lower(std::string_view text) {
    std::string found(text);
    for (char& letter : found)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    return found;
}

// What Windows takes for a device, with whatever extension: learn.microsoft.com/windows/win32/fileio/naming-a-file.
bool is_device(std::string_view part) {
    std::string stem = lower(part.substr(0, part.find('.')));
    stem.resize(stem.find_last_not_of(' ') + 1);
    if (stem == "con" || stem == "prn" || stem == "aux" || stem == "nul") return true;
    if (stem.compare(0, 3, "com") != 0 && stem.compare(0, 3, "lpt") != 0) return false;
    const std::string number = stem.substr(3);
    return (number.size() == 1 && number[0] >= '0' && number[0] <= '9') || number == "\xC2\xB9" || number == "\xC2\xB2" ||
           number == "\xC2\xB3";
}

bool is_part(std::string_view part) {
    const auto strange = [](char letter) {
        return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F || std::string_view("\\:*?\"<>|").find(letter) != std::string_view::npos;
    };
    return !part.empty() && std::none_of(part.begin(), part.end(), strange) && !is_device(part) && part.back() != '.' &&
           part.back() != ' ';
}

}  // namespace

bool is_portable(std::string_view name) {
    for (std::size_t start = 0;;) {
        const std::size_t end = std::min(name.find('/', start), name.size());
        if (!is_part(name.substr(start, end - start))) return false;
        if (end == name.size()) return true;
        start = end + 1;
    }
}

std::optional<std::pair<std::string, std::string>> colliding(std::vector<std::string> names) {
    const auto depth = [](const std::string& name) { return std::count(name.begin(), name.end(), '/'); };
    std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return depth(a) < depth(b); });
    std::map<std::string, std::string> seen;
    for (const auto& name : names) {
        const std::string alike = lower(name);
        for (std::size_t end = alike.find('/');; end = alike.find('/', end + 1)) {
            const auto found = seen.find(alike.substr(0, end));
            if (found != seen.end()) return std::pair(found->second, name);
            if (end == alike.npos) break;
        }
        seen[alike] = name;
    }
    return std::nullopt;
}

}  // namespace rr
