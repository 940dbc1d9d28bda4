// Mean and standard deviation of arrays that arrive one by one.
#include "session/moments.hpp"

#include <cmath>

#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

Moments::Moments(std::vector<std::int64_t> shape) : mean_(DType::float64, shape), squares_(DType::float64, shape) {}

void Moments::add(const Output& output, const std::string& where) {
    if (output.array.shape() != mean_.shape())
        throw RuntimeFailure(cat(where, ": output ", rr::quoted(output.name), ": expected shape ",
                                 listed(mean_.shape(), "(", ")"), " in every run, got ",
                                 listed(output.array.shape(), "(", ")"), "; take the outputs of single runs"));
    count_ += 1;
    double *mean = mean_.as<double>(), *squares = squares_.as<double>();
    for (std::size_t i = 0; i < mean_.count(); ++i) {
        const double x = output.array.number(i), before = x - mean[i];
        mean[i] += before / count_;
        // Of a single array it is 0, or NaN where the number is not finite.
        squares[i] += count_ > 1 ? before * (x - mean[i]) : x - x;
    }
}

Array Moments::std() const {
    Array found = squares_.copy();
    for (std::size_t i = 0; i < found.count(); ++i) found.as<double>()[i] = std::sqrt(found.as<double>()[i] / count_);
    return found;
}

}  // namespace rr
