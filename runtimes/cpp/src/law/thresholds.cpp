// The thresholds of a row of probabilities.
#include "law/thresholds.hpp"

#include <numeric>

namespace rr {

Row cumulated(const Row& law) {
    const double total = std::accumulate(law.begin(), law.end(), 0.0);
    std::size_t possible = law.size();  // branches from here on have probability 0
    while (possible > 0 && law[possible - 1] == 0.0) --possible;
    Row found;
    double sum = 0.0;
    for (std::size_t j = 1; j < law.size(); ++j) {
        sum += law[j - 1] / total;
        found.push_back(j < possible ? sum : 1.0);
    }
    return found;
}

}  // namespace rr
