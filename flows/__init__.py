"""Flows, output and servers. Every process that runs them keeps its log lines separate."""

from flows.log_lines import keep_lines_apart

keep_lines_apart()
