"""The commands beside run: fmt, adapt, explain, validate, completion and the servers in one line."""

from lib.caddis import command

ONE_LINE = "example.com < reverse_proxy localhost:8000 ; header A b >   # mine\n"
LAID_OUT = "example.com {\n\treverse_proxy localhost:8000\n\theader A b\n} # mine\n"


# ---- fmt


def test_fmt_prints_and_says_that_the_file_was_not_like_that(tmp_path):
    (tmp_path / "Caddyfile").write_text(ONE_LINE)
    done = command("fmt", cwd=tmp_path)
    assert (done.stdout, done.returncode) == (LAID_OUT, 1)
    assert "--overwrite" in done.stderr
    assert (tmp_path / "Caddyfile").read_text() == ONE_LINE
    (tmp_path / "other").write_text(LAID_OUT)
    done = command("fmt", tmp_path / "other")
    assert (done.stdout, done.stderr, done.returncode) == (LAID_OUT, "", 0)


def test_fmt_overwrites_in_place_and_keeps_rights_and_links(tmp_path):
    real = tmp_path / "real"
    real.write_text(ONE_LINE)
    real.chmod(0o640)
    (tmp_path / "Caddyfile").symlink_to(real)
    for _ in range(2):
        done = command("fmt", "-w", cwd=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert real.read_text() == LAID_OUT
    assert real.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "Caddyfile").is_symlink()
    assert {p.name for p in tmp_path.iterdir()} == {"real", "Caddyfile"}


def test_fmt_diff_and_standard_input(tmp_path):
    (tmp_path / "f").write_text("a {\n\tb\n  c\n}\n")
    done = command("fmt", "--diff", tmp_path / "f")
    assert done.stdout == "  a {\n  \tb\n-   c\n+ \tc\n  }\n"
    assert done.returncode == 1
    (tmp_path / "g").write_text("a { b }")
    with open(tmp_path / "g") as f:
        done = command("fmt", "-", stdin=f)
    assert (done.stdout, done.returncode) == ("a {\n\tb\n}\n", 0)


def test_fmt_leaves_a_broken_file_alone(tmp_path):
    (tmp_path / "f").write_text('a {\n\trespond "x\n}\n')
    done = command("fmt", "-w", tmp_path / "f")
    assert done.returncode == 1 and done.stdout == ""
    assert "f:2:10: error: the quote that opens here is never closed" in done.stderr
    assert (tmp_path / "f").read_text() == 'a {\n\trespond "x\n}\n'
