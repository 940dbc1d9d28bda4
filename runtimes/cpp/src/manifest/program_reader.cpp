// Reads the program of a segments target, and holds that it makes every value before it is used.
#include <algorithm>
#include <map>

#include "manifest/readers.hpp"
#include "rr/errors.hpp"
#include "text/text.hpp"

namespace rr {

namespace {

Step read_step(const Node& node, const Referred& referred);

StepBranch read_branch(const Node& node, const Referred& referred) {
    return {read_program(node.key("steps"), referred), node.key("results").texts()};
}

Step read_step(const Node& node, const Referred& referred) {
    Step step;
    if (const auto run = node.optional("run")) {
        step.model = read_file_name(*run, referred.files);
        step.inputs = node.key("inputs").texts();
        step.outputs = node.key("outputs").texts();
        return step;
    }
    const auto sites = static_cast<std::int64_t>(referred.branches.size());
    step.site = static_cast<std::size_t>(node.key("site").integer(0, sites - 1));
    step.outputs = node.key("outputs").texts();
    const Node branches = node.key("branches");
    step.branches = branches.each([&](const Node& branch) { return read_branch(branch, referred); });
    const bool right = std::all_of(step.branches.begin(), step.branches.end(), [&](const StepBranch& branch) {
        return branch.results.size() == step.outputs.size();
    });
    if (step.branches.size() != referred.branches[step.site] || !right)
        branches.fail(cat(referred.branches[step.site], " branches, each with ", step.outputs.size(), " results"));
    return step;
}

// Walks a program with the values that are there in each of the branches around a step.
class Walk {
public:
    Walk(const Referred& referred, const std::string& where) : where_(where) { enter(referred.inputs); }

    void steps(const std::vector<Step>& program) {
        for (const auto& step : program) {
            need(step.inputs);
            for (const auto& branch : step.branches) {
                enter({});
                steps(branch.steps);
                need(branch.results);
                leave();
            }
            for (const auto& name : step.outputs) make(name);
        }
    }

    void need(const std::vector<std::string>& names) const {
        for (const auto& name : names)
            if (const auto found = there_.find(name); found == there_.end() || found->second == 0) missing(name);
    }

    void end(const std::set<std::string>& outputs) const { need({outputs.begin(), outputs.end()}); }

private:
    void enter(const std::set<std::string>& names) {
        made_.emplace_back();
        for (const auto& name : names) make(name);
    }
    void leave() {
        for (const auto& name : made_.back()) --there_[name];
        made_.pop_back();
    }
    void make(const std::string& name) {
        if (made_.back().insert(name).second) ++there_[name];
    }
    [[noreturn]] void missing(const std::string& name) const {
        throw BundleError(cat(where_, ": expected steps that make the value ", rr::quoted(name),
                              " before it is used, got none; ", DAMAGED));
    }
    const std::string& where_;
    std::vector<std::set<std::string>> made_;  // by depth: what is there inside these branches and not further out
    std::map<std::string, int> there_;         // by name: at how many depths it is there
};

}  // namespace

std::vector<Step> read_program(const Node& node, const Referred& referred) {
    return node.each([&](const Node& step) { return read_step(step, referred); });
}

void check_values(const std::vector<Step>& program, const Referred& referred, const std::string& where) {
    Walk walk(referred, where);
    walk.steps(program);
    walk.end(referred.outputs);
}

}  // namespace rr
