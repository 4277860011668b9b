from pathlib import Path

import schema
from schema.code_hash import hash_code

CODE = '''
"""Module."""
LIMIT = 3


def doubled(value):
    """Doubles."""
    return value * 2
'''


def hash_of(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "module.py").write_text(text)
    return hash_code(folder)


def test_comments_docstrings_and_formatting_change_nothing(tmp_path):
    other = "LIMIT = (\n  3  # at most\n)\n'What follows.'\ndef doubled( value ): return value*2\n"
    assert hash_of(tmp_path / "a", CODE) == hash_of(tmp_path / "b", other)


def test_code_and_names_of_files_change_it(tmp_path):
    folder = tmp_path / "code"
    texts = (CODE, CODE.replace("3", "4"), CODE.replace("*", "+"))
    seen = {hash_of(folder, text) for text in texts}
    (folder / "sub").mkdir()
    (folder / "sub" / "more.py").write_text("")
    seen.add(hash_code(folder))
    (folder / "sub" / "more.py").rename(folder / "sub" / "other.py")
    seen.add(hash_code(folder))
    assert len(seen) == 5
    before = hash_code(folder)
    (folder / "notes.txt").write_text("no code")
    assert hash_code(folder) == before


def test_a_package_is_its_folder():
    assert hash_code(schema) == hash_code(Path(schema.__path__[0])) != hash_code(schema, schema)
