// A check that counts: each says where it fails, and the program ends with 1 where one did or where none was made.
#pragma once

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

namespace check {

inline int made = 0, failed = 0;

inline void that(bool holds, const char* text, const char* file, int line, const std::string& about) {
    ++made;
    if (holds) return;
    ++failed;
    if (failed <= 20) std::printf("%s:%d: does not hold: %s %s\n", file, line, text, about.c_str());
}

inline int end() {
    std::printf("%d checks, %d failed\n", made, failed);
    return failed != 0 || made == 0;
}

inline std::string read(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace check

#define CHECK(...) check::that((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__, "")
#define CHECK_FOR(about, ...) check::that((__VA_ARGS__), #__VA_ARGS__, __FILE__, __LINE__, about)
