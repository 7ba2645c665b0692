"""What the rules look at: source files, their includes, their code without comments and strings."""

import os
import re

SKIP = ("build", ".")  # build folders and dot folders


def source_files(root):
    """All .c and .h files, as paths from root with '/'."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(SKIP))
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def folders_with_code(root):
    """Folders that need a README: of the product each one with code, of the tests the top."""
    folders = set()
    for path in source_files(root):
        folder = os.path.dirname(path)
        folders.add("tests" if path.startswith("tests/") else folder or ".")
    return sorted(folders)


def includes(root, path):
    """(line, name, quoted) of each #include."""
    with open(os.path.join(root, path), errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if match:
                yield number, match[2], match[1] == '"'


def code_lines(root, path):
    """(line, text) with comments and the contents of strings blanked."""
    with open(os.path.join(root, path), errors="replace") as file:
        text = file.read()

    def blank(match):
        kept = re.sub(r"[^\n]", " ", match[0])
        return kept

    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return enumerate(re.sub(pattern, blank, text, flags=re.S).split("\n"), 1)
