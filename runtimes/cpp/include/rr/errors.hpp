// What can go wrong: five kinds of errors, those of section 10 of the contract.
#pragma once

#include <stdexcept>
#include <string>

namespace rr {

/// The kinds of errors, with the codes of the C interface.
enum class Kind { type = 1, value = 2, failure = 3, bundle = 4, provider = 5 };

/// The base of all errors of this library; the text reads `where: expected X, got Y; do Z`.
class Error : public std::runtime_error {
public:
    Error(Kind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}
    Kind kind() const noexcept { return kind_; }

private:
    Kind kind_;
};

/// An argument is of a wrong type or dtype.
class TypeError : public Error {
public:
    explicit TypeError(const std::string& text) : Error(Kind::type, text) {}
};

/// An argument is out of range, or not one that the file takes.
class ValueError : public Error {
public:
    explicit ValueError(const std::string& text) : Error(Kind::value, text) {}
};

/// Running or checking a file failed; the base of the two kinds below.
class RuntimeFailure : public Error {
public:
    explicit RuntimeFailure(const std::string& text) : Error(Kind::failure, text) {}

protected:
    RuntimeFailure(Kind kind, const std::string& text) : Error(kind, text) {}
};

/// A bundle or file is missing, damaged, foreign, or does not agree with itself.
class BundleError : public RuntimeFailure {
public:
    explicit BundleError(const std::string& text) : RuntimeFailure(Kind::bundle, text) {}
};

/// The asked execution provider cannot be had on this machine, or is known to compute a form wrongly.
class ProviderError : public RuntimeFailure {
public:
    explicit ProviderError(const std::string& text) : RuntimeFailure(Kind::provider, text) {}
};

/// Returns the name of a kind, as `rr_runtime` calls its class.
inline const char* name_of(Kind kind) noexcept {
    switch (kind) {
        case Kind::type: return "TypeError";
        case Kind::value: return "ValueError";
        case Kind::failure: return "RuntimeFailure";
        case Kind::bundle: return "BundleError";
        case Kind::provider: return "ProviderError";
    }
    return "RuntimeFailure";
}

}  // namespace rr
