// Mean and spread of arrays that arrive one by one.
#include "session/moments.hpp"

#include <algorithm>
#include <cmath>

namespace rr {

void Moments::add(const std::vector<double>& value) {
    ++count_;
    if (count_ == 1) {
        mean_ = value;
        squares_.resize(value.size());
        for (std::size_t i = 0; i < value.size(); ++i) squares_[i] = value[i] - value[i];  // NaN where it is not finite
        return;
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
        const double before = value[i] - mean_[i];
        mean_[i] += before / static_cast<double>(count_);
        squares_[i] += before * (value[i] - mean_[i]);
    }
}

std::vector<double> Moments::std() const {
    std::vector<double> found;
    for (const double square : squares_) found.push_back(std::sqrt(square / static_cast<double>(count_)));
    return found;
}

std::optional<std::vector<double>> Moments::error() const {
    if (count_ < 2) return std::nullopt;
    const auto count = static_cast<double>(count_);
    std::vector<double> found;
    for (const double square : squares_) found.push_back(std::sqrt(square / (count * (count - 1))));
    return found;
}

void BlockMoments::add(const Array& value) {
    std::vector<double> numbers(value.count());
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = value.number(i);
    shape_ = value.shape();
    runs_.add(numbers);
    open_.resize(numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) open_[i] += numbers[i];
    if (runs_.count() % block_) return;
    for (double& number : open_) number /= static_cast<double>(block_);
    blocks_.add(open_);
    std::fill(open_.begin(), open_.end(), 0.0);
}

std::optional<Array> BlockMoments::error() const {
    const auto& independent = block_ == 1 ? runs_ : blocks_;
    const auto found = independent.error();
    return found ? std::optional<Array>(array(*found)) : std::nullopt;
}

Array BlockMoments::array(const std::vector<double>& numbers) const {
    Array made(DType::float64, shape_);
    std::copy(numbers.begin(), numbers.end(), made.as<double>());
    return made;
}

}  // namespace rr
