"""The command line. `main` reads the command and imports its module; each command is a thin layer over the library.

Shared by commands: `options` (declared once), `configuration` (finding and building it), `console` (output, exit
codes), `usage` (wrong usage as one line), `advice` (on unreadable answers).
"""
