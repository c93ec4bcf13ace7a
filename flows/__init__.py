"""What is run, shown and served. Whatever process does any of it keeps the lines of its logs apart."""

from flows.log_lines import keep_lines_apart

keep_lines_apart()
