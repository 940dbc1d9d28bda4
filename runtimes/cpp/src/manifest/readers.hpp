// The readers of a manifest's parts; each throws BundleError where a key is missing or wrong.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "manifest/node.hpp"
#include "rr/manifest.hpp"

namespace rr {

constexpr std::size_t MOST_SITES = std::size_t{1} << 14;

/// What targets may refer to.
struct Referred {
    std::vector<std::size_t> branches;  ///< the number of branches of every site
    std::set<std::string> inputs, outputs, files, axes;
};

std::vector<Site> read_sites(const Node& node);
Policy read_policy(const Node& node, std::size_t branches);

/// Holds what no site can say alone: names, nesting and the steps of each chain fit together.
void check_sites(const Node& node, const std::vector<Site>& sites);

/// Returns S routes, each -1 or an index of the site's branches.
Path read_routes(const Node& node, const std::vector<std::size_t>& branches);

std::vector<Profile> read_profiles(const Node& node, const std::vector<Site>& sites);
std::vector<Target> read_targets(const Node& node, const Referred& referred);
std::vector<Step> read_program(const Node& node, const Referred& referred);

/// Holds that a program makes every value before it is used, and the outputs at its end.
void check_values(const std::vector<Step>& program, const Referred& referred, const std::string& where);

std::string read_file_name(const Node& node, const std::set<std::string>& files);
Pruned read_pruned(const Node& node, const std::vector<Site>& sites);
std::map<std::string, RecordedFile> read_files(const Node& node);
std::vector<GoldenCase> read_golden(const Node& node, const std::vector<std::size_t>& branches);

}  // namespace rr
