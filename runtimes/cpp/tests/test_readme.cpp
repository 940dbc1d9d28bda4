// The example of the README, on a case, and one session that many threads use at once.
#include <rr/session.hpp>
#include <thread>

#include "check.hpp"

int main() {
    rr::Session session(RR_CASES "/static");
    std::vector<float> x(2 * 3 * 8);
    rr::Result result = session.run({{"x", {2, 3, 8}, x.data()}});
    const rr::Path path = *result.path;
    rr::Ask again;
    again.seed = result.seed;
    session.run({{"x", {2, 3, 8}, x.data()}}, again, result);
    const float* y = result["y"].as<float>();
    CHECK(path == *result.path && y != nullptr && result["y"].count() == x.size());

    // One thread of ONNX Runtime each: how its own wait for each other is nothing that a sanitizer sees from here.
    rr::Options alone;
    alone.threads = 1;
    rr::Session shared(RR_CASES "/static", alone);
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (std::size_t t = 0; t < wrong.size(); ++t)
        threads.emplace_back([&, t] {
            rr::Ask ask;
            ask.seed = static_cast<std::int64_t>(t);
            const rr::Path first = *shared.run({{"x", {2, 3, 8}, x.data()}}, ask).path;
            for (int n = 0; n < 200; ++n) wrong[t] += *shared.run({{"x", {2, 3, 8}, x.data()}}, ask).path != first;
        });
    for (auto& thread : threads) thread.join();
    for (const int count : wrong) CHECK(count == 0);
    return check::end();
}
