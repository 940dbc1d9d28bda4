// Arrays of numpy's files. The formats: numpy.lib.format, and PKWARE's APPNOTE for the archive around them.
#include "bundle/arrays.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bundle/mapped.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t size) {
    if (at > bytes.size() || size > bytes.size() - at) throw NoArrays("expected more bytes, got the end");
    std::uint64_t found = 0;
    for (std::size_t i = size; i-- > 0;) found = found << 8 | static_cast<unsigned char>(bytes[at + i]);
    return found;
}

// What stands in a header after a key, such as 'descr': up to the comma, bracket or brace that ends it.
std::string_view value_of(std::string_view header, std::string_view key) {
    const std::string quoted_key = cat("'", key, "':");
    const std::size_t at = header.find(quoted_key);
    if (at == header.npos) throw NoArrays(cat("expected the key ", key, " in the header of an array, got none"));
    std::string_view rest = header.substr(at + quoted_key.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::size_t end = !rest.empty() && rest.front() == '(' ? rest.find(')') : rest.find_first_of(",}");
    if (end == rest.npos) throw NoArrays(cat("expected an end of ", key, " in the header of an array, got none"));
    return rest.substr(0, end);
}

std::vector<std::int64_t> read_shape(std::string_view text) {
    if (text.empty() || text.front() != '(') throw NoArrays(cat("expected a shape, got ", rr::quoted(text)));
    std::vector<std::int64_t> shape;
    std::optional<std::int64_t> number;
    for (const char letter : text.substr(1)) {
        if (letter >= '0' && letter <= '9') {
            const std::int64_t before = number.value_or(0);
            if (before > (INT64_MAX - 9) / 10) throw NoArrays("expected a shape that fits, got one that overflows");
            number = before * 10 + (letter - '0');
        } else if (letter == ',' && number) {
            shape.push_back(*number);
            number.reset();
        } else if (letter != ' ' && letter != 'L') {
            throw NoArrays(cat("expected a shape of whole numbers, got ", rr::quoted(text)));
        }
    }
    if (number) shape.push_back(*number);
    return shape;
}

DType read_descr(std::string_view text) {
    struct Known {
        const char* code;
        DType dtype;
    };
    static constexpr std::array<Known, 12> KNOWN{{{"f2", DType::float16}, {"f4", DType::float32}, {"f8", DType::float64},
                                                  {"b1", DType::boolean}, {"i1", DType::int8}, {"i2", DType::int16},
                                                  {"i4", DType::int32}, {"i8", DType::int64}, {"u1", DType::uint8},
                                                  {"u2", DType::uint16}, {"u4", DType::uint32}, {"u8", DType::uint64}}};
    if (text.size() == 5 && text.front() == '\'' && text.back() == '\'') {
        const std::string_view code = text.substr(2, 2);
        for (const auto& known : KNOWN)
            if (code == known.code && (text[1] == '<' || (text[1] == '|' && size_of(known.dtype) == 1))) return known.dtype;
    }
    throw NoArrays(cat("expected numbers in little-endian order, got ", text));
}

// The element of an array in C order that stands at a place in Fortran's order.
Array reordered(const Array& found) {
    Array made(found.dtype(), found.shape());
    const std::size_t size = size_of(found.dtype());
    const auto& shape = found.shape();
    std::vector<std::size_t> index(shape.size(), 0);
    for (std::size_t i = 0; i < found.count(); ++i) {
        std::size_t place = 0;
        for (std::size_t axis = 0; axis < shape.size(); ++axis) place = place * static_cast<std::size_t>(shape[axis]) + index[axis];
        std::memcpy(static_cast<char*>(made.data()) + place * size, static_cast<const char*>(found.data()) + i * size, size);
        for (std::size_t axis = 0; axis < shape.size() && ++index[axis] == static_cast<std::size_t>(shape[axis]); ++axis)
            index[axis] = 0;
    }
    return made;
}

// The member of an archive whose record in its directory begins here; moves on to the next.
std::pair<std::string, std::string_view> member(std::string_view bytes, std::size_t& at) {
    if (number_at(bytes, at, 4) != 0x02014b50) throw NoArrays("expected a directory of an archive, got other bytes");
    const std::uint64_t method = number_at(bytes, at + 10, 2);
    std::uint64_t packed = number_at(bytes, at + 20, 4), size = number_at(bytes, at + 24, 4);
    const auto name_size = static_cast<std::size_t>(number_at(bytes, at + 28, 2));
    const auto extra_size = static_cast<std::size_t>(number_at(bytes, at + 30, 2));
    const auto comment_size = static_cast<std::size_t>(number_at(bytes, at + 32, 2));
    std::uint64_t start = number_at(bytes, at + 42, 4);
    if (at + 46 + name_size + extra_size + comment_size > bytes.size()) throw NoArrays("expected more bytes, got the end");
    const std::string name(bytes.substr(at + 46, name_size));
    const std::string_view extra = bytes.substr(at + 46 + name_size, extra_size);
    if (size == 0xFFFFFFFF || packed == 0xFFFFFFFF || start == 0xFFFFFFFF) {  // then 64 bits of each stand beside
        if (number_at(extra, 0, 2) != 1) throw NoArrays("expected sizes of 64 bits, got none");
        std::size_t next = 4;
        for (auto* value : {&size, &packed, &start})
            if (*value == 0xFFFFFFFF) *value = number_at(extra, next, 8), next += 8;
    }
    if (method != 0 || packed != size)
        throw NoArrays(cat("expected arrays that are not compressed, got ", rr::quoted(name), ", which is"));
    if (start > bytes.size() || number_at(bytes, static_cast<std::size_t>(start), 4) != 0x04034b50)
        throw NoArrays("expected a member of an archive, got other bytes");
    const std::uint64_t head = 30 + number_at(bytes, static_cast<std::size_t>(start) + 26, 2) +
                               number_at(bytes, static_cast<std::size_t>(start) + 28, 2);
    if (head > bytes.size() - start || size > bytes.size() - start - head) throw NoArrays("expected more bytes, got the end");
    at += 46 + name_size + extra_size + comment_size;
    return {name, bytes.substr(static_cast<std::size_t>(start + head), static_cast<std::size_t>(size))};
}

}  // namespace

Array read_npy(std::string_view bytes) {
    if (bytes.substr(0, 6) != std::string_view("\x93NUMPY", 6)) throw NoArrays("expected a .npy file, got other bytes");
    const bool short_size = number_at(bytes, 6, 1) == 1;
    const std::size_t begin = short_size ? 10 : 12;
    const auto length = static_cast<std::size_t>(number_at(bytes, 8, short_size ? 2 : 4));
    if (begin > bytes.size() || length > bytes.size() - begin) throw NoArrays("expected a header, got the end");
    const std::string_view header = bytes.substr(begin, length);
    const DType dtype = read_descr(value_of(header, "descr"));
    const auto shape = read_shape(value_of(header, "shape"));
    const bool fortran = value_of(header, "fortran_order").substr(0, 4) == "True";
    const auto count = count_of(shape, size_of(dtype));
    const std::string_view content = bytes.substr(begin + length);
    if (!count || *count * size_of(dtype) != content.size())
        throw NoArrays(cat("expected numbers of the shape ", listed(shape), ", got ", content.size(), " bytes"));
    Array found(dtype, shape);
    if (!content.empty()) std::memcpy(found.data(), content.data(), content.size());
    return fortran && shape.size() > 1 ? reordered(found) : std::move(found);
}

std::map<std::string, Array> read_npz(const std::filesystem::path& file) {
    const Mapped mapped(file);
    const std::string_view bytes = mapped.bytes();
    constexpr std::size_t ending = 22;  // of a directory, which comes last, and has a comment of less than 2^16 bytes
    if (bytes.size() < ending) throw NoArrays("expected an archive, got the end");
    const std::size_t end = bytes.rfind(std::string_view("PK\x05\x06", 4), bytes.size() - ending);
    if (end == bytes.npos) throw NoArrays("expected the directory of an archive, got none");
    std::uint64_t count = number_at(bytes, end + 10, 2), start = number_at(bytes, end + 16, 4);
    if (count == 0xFFFF || start == 0xFFFFFFFF) throw NoArrays("expected an archive of less than 4 GB, got a larger one");
    std::map<std::string, Array> found;
    auto at = static_cast<std::size_t>(start);
    for (; count > 0; --count) {
        auto [name, content] = member(bytes, at);
        if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0) name.resize(name.size() - 4);
        if (!found.emplace(name, read_npy(content)).second)
            throw NoArrays("expected arrays of different names, got two of one");
    }
    return found;
}

}  // namespace rr
