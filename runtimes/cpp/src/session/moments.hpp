// Mean, standard deviation and standard error of arrays that arrive one by one.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "rr/array.hpp"

namespace rr {

/// The running mean and spread of rows of numbers, in float64 (Welford: Note on a Method for Calculating Corrected Sums of
/// Squares and Products, 1962).
class Moments {
public:
    void add(const std::vector<double>& value);
    std::size_t count() const noexcept { return count_; }
    const std::vector<double>& mean() const noexcept { return mean_; }
    std::vector<double> std() const;                     ///< divided by the number of values
    std::optional<std::vector<double>> error() const;    ///< the standard error of the mean; none below two values

private:
    std::size_t count_ = 0;
    std::vector<double> mean_, squares_;
};

/// The same of values that come in blocks, which alone are independent of each other: so the spread of their means says how
/// far off the mean of all is.
class BlockMoments {
public:
    explicit BlockMoments(std::size_t block) : block_(block) {}
    void add(const Array& value);
    const std::vector<std::int64_t>& shape() const noexcept { return shape_; }
    Array mean() const { return array(runs_.mean()); }
    Array std() const { return array(runs_.std()); }
    std::optional<Array> error() const;
    bool is_of(const Array& value) const noexcept { return !runs_.count() || value.shape() == shape_; }

private:
    Array array(const std::vector<double>& numbers) const;
    std::size_t block_;
    std::vector<std::int64_t> shape_;
    Moments runs_, blocks_;
    std::vector<double> open_;  // the sum of the block that is not whole
};

}  // namespace rr
