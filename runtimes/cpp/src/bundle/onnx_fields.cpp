// Walks protobuf's wire format: fields are skipped by their lengths, so that weights are not read. Field numbers are
// those of onnx.proto.
#include "bundle/onnx_fields.hpp"

#include <cstdint>
#include <vector>

#include "text/text.hpp"

namespace rr {

namespace {

constexpr std::uint64_t EXTERNAL_DATA = 13, DATA_LOCATION = 14, EXTERNAL = 1;  // of a tensor
constexpr std::uint64_t KEY = 1, VALUE = 2, METADATA = 14;

struct Field {
    std::uint64_t number = 0, value = 0;  // the value of a number
    std::string_view bytes;               // of a field with a length
    bool has_bytes = false;
};

// Reads the fields of one message, one after another.
class Fields {
public:
    explicit Fields(std::string_view bytes) : left_(bytes) {}

    bool next(Field& field) {
        if (left_.empty()) return false;
        const std::uint64_t tag = varint();
        field = {};
        field.number = tag >> 3;
        switch (tag & 7) {
            case 0: field.value = varint(); return true;
            case 1: take(8); return true;
            case 2:
                field.bytes = take(varint());
                field.has_bytes = true;
                return true;
            case 5: take(4); return true;
            default: throw NoProtobuf{cat("expected a field of protobuf, got wire type ", tag & 7)};
        }
    }

private:
    std::string_view take(std::uint64_t size) {
        if (size > left_.size()) throw NoProtobuf{cat("expected ", size, " bytes of a field, got ", left_.size())};
        const auto found = left_.substr(0, static_cast<std::size_t>(size));
        left_.remove_prefix(found.size());
        return found;
    }
    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 70 && !left_.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(left_.front());
            left_.remove_prefix(1);
            if (shift < 64) value |= std::uint64_t{byte & 0x7FU} << shift;
            if (byte < 0x80) return value;
        }
        throw NoProtobuf{"expected a number of at most ten bytes, got none"};
    }
    std::string_view left_;
};

enum class Message { model, training, function, graph, node, attribute, sparse, tensor, other };

// The ways to every tensor: which message lies in a field of another.
Message below(Message message, std::uint64_t number) {
    switch (message) {
        case Message::model:
            return number == 7    ? Message::graph
                   : number == 20 ? Message::training
                   : number == 25 ? Message::function
                                  : Message::other;
        case Message::training: return number == 1 || number == 2 ? Message::graph : Message::other;
        case Message::function:
            return number == 7 ? Message::node : number == 11 ? Message::attribute : Message::other;
        case Message::graph:
            return number == 1    ? Message::node
                   : number == 5  ? Message::tensor
                   : number == 15 ? Message::sparse
                                  : Message::other;
        case Message::node: return number == 5 ? Message::attribute : Message::other;
        case Message::attribute:
            return number == 5 || number == 10    ? Message::tensor
                   : number == 6 || number == 11  ? Message::graph
                   : number == 22 || number == 23 ? Message::sparse
                                                  : Message::other;
        case Message::sparse: return number == 1 || number == 2 ? Message::tensor : Message::other;
        default: return Message::other;
    }
}

std::pair<std::string_view, std::string_view> entry(std::string_view bytes) {
    std::pair<std::string_view, std::string_view> found;
    Fields fields(bytes);
    for (Field field; fields.next(field);) {
        if (field.number == KEY) found.first = field.bytes;
        if (field.number == VALUE) found.second = field.bytes;
    }
    return found;
}

void read_tensor(std::string_view bytes, ExternalFiles& found) {
    std::map<std::string_view, std::string_view> told;
    bool external = false;
    Fields fields(bytes);
    for (Field field; fields.next(field);) {
        if (field.number == DATA_LOCATION && !field.has_bytes) external |= field.value == EXTERNAL;
        if (field.number == EXTERNAL_DATA && field.has_bytes) {
            const auto [key, value] = entry(field.bytes);
            told[key] = value;
        }
    }
    const auto location = told.find("location");
    if (!external || location == told.end()) return;
    auto& sums = found[std::string(location->second)];
    if (const auto sum = told.find("checksum"); sum != told.end()) sums.emplace(sum->second);
}

}  // namespace

ExternalFiles external_files(std::string_view model) {
    ExternalFiles found;
    if (model.find("location") == model.npos) return found;
    std::vector<std::pair<Message, std::string_view>> todo{{Message::model, model}};
    while (!todo.empty()) {
        const auto [message, bytes] = todo.back();
        todo.pop_back();
        if (message == Message::tensor) {
            read_tensor(bytes, found);
            continue;
        }
        Fields fields(bytes);
        for (Field field; fields.next(field);)
            if (const auto inner = below(message, field.number); inner != Message::other && field.has_bytes)
                todo.emplace_back(inner, field.bytes);
    }
    return found;
}

std::optional<std::string_view> metadata(std::string_view model, std::string_view key) {
    std::optional<std::string_view> found;
    Fields fields(model);
    for (Field field; fields.next(field);)
        if (field.number == METADATA && field.has_bytes)
            if (const auto [name, value] = entry(field.bytes); name == key) found = value;
    return found;
}

}  // namespace rr
