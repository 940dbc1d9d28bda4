// Mean and standard deviation of arrays that arrive one by one, in float64, without keeping the arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rr/session.hpp"

namespace rr {

/// Welford's update (Note on a Method for Calculating Corrected Sums of Squares and Products, 1962).
class Moments {
public:
    explicit Moments(std::vector<std::int64_t> shape);

    /// The output is counted; throws RuntimeFailure where it has another shape than the first one.
    void add(const Output& output, const std::string& where);

    Array mean() const { return mean_.copy(); }
    Array std() const;  ///< divided by the number of arrays

private:
    Array mean_, squares_;
    double count_ = 0;
};

}  // namespace rr
