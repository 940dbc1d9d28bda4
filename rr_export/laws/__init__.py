"""The laws of routes and paths: policies, sites as data, paths, the plan. numpy only."""
