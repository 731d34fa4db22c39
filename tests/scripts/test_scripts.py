"""Tests of the sample workspace: its generator, and each of its scripts run as a user would."""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATOR = REPOSITORY / "examples" / "make_workspace.py"
TOOLS = REPOSITORY / "examples" / "workspace" / "Tools"
WILSON, HARLAN = "Wilson-MVA-2024", "Harlan-Slip-2023"
BUCKETS = {
    "Case Information", "Client", "Investigation", "Medical Records",
    "Insurance", "Lien", "Expenses", "Litigation",
}  # fmt: skip

pytest.importorskip("pypdf", reason="needs python3-pypdf")
pytest.importorskip("PIL", reason="needs python3-pil")

Result = subprocess.CompletedProcess


def run_python(arguments: list[object], **options: object) -> Result[str]:
    command = [sys.executable, "-B", *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def generate(target: Path, *arguments: str) -> Result[str]:
    return run_python([GENERATOR, target, *arguments])


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time and content of everything below `root`."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, digest)
    return found


def contents(case: Path) -> list[str]:
    """The digests of all files: what moves must neither lose nor change."""
    files = [path for path in case.rglob("*") if path.is_file()]
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pristine") / "workspace"
    result = generate(target)
    assert result.returncode == 0, result.stderr
    return target


@pytest.fixture
def workspace(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "workspace")


@pytest.fixture
def run(workspace: Path) -> Callable[..., Result[str]]:
    """Runs a script of the workspace in a case, with the environment that Bailiff gives it."""

    def run_script(
        script: str, *arguments: str, case: str = WILSON, **options: object
    ) -> Result[str]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "EXECUTION_ID": "exec_test"}
        environment |= {"CASE_NAME": case, "WORKSPACE_ROOT": str(workspace)}
        environment |= options.pop("env", {})
        settings = {"cwd": workspace / "projects" / case, "env": environment} | options
        result = run_python([workspace / "Tools" / f"{script}.py", *arguments], **settings)
        assert "Traceback" not in result.stderr, result.stderr
        return result

    return run_script


# The generator


def test_the_same_seed_gives_the_same_bytes_and_times(pristine: Path, tmp_path: Path) -> None:
    assert generate(tmp_path / "again").returncode == 0
    assert snapshot(tmp_path / "again") == snapshot(pristine)


def test_another_seed_gives_other_photographs(pristine: Path, tmp_path: Path) -> None:
    assert generate(tmp_path / "other", "--seed", "7").returncode == 0
    name = f"projects/{WILSON}/IMG_2041.JPG"
    assert (tmp_path / "other" / name).read_bytes() != (pristine / name).read_bytes()


def test_the_workspace_has_its_layout_and_the_scripts_are_executable(pristine: Path) -> None:
    assert sorted(path.name for path in pristine.iterdir()) == [
        "Database",
        "Reports",
        "Tools",
        "projects",
    ]
    assert os.access(pristine / "Tools" / "create_file_inventory.py", os.X_OK)
    for script in TOOLS.glob("*.py"):
        assert (pristine / "Tools" / script.name).read_bytes() == script.read_bytes()


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    result = generate(tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"make_workspace: {tmp_path}: not empty; name a new or empty folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_as_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = generate(tmp_path / "file")
    assert result.returncode == 1
    assert "not a folder" in result.stderr


def test_without_pillow_everything_but_photographs_is_made(tmp_path: Path) -> None:
    (tmp_path / "absent" / "PIL").mkdir(parents=True)
    (tmp_path / "absent" / "PIL" / "__init__.py").write_text("raise ImportError")
    target = tmp_path / "workspace"
    environment = {"PYTHONPATH": str(tmp_path / "absent")}
    result = run_python([GENERATOR, target], env=environment)
    assert result.returncode == 0
    assert "no photographs without Pillow (install python3-pil)" in result.stderr
    assert not list(target.rglob("*.JPG"))
    assert (target / "projects" / WILSON / "uncategorized" / "dec page.pdf").is_file()


def test_photographs_have_exif_dates_and_one_has_a_place(pristine: Path) -> None:
    from PIL import Image

    with Image.open(pristine / "projects" / WILSON / "Photos from scene" / "DSC_0101.JPG") as image:
        image.load()
        exif = image.getexif()
    assert exif.get_ifd(0x8769)[0x9003] == "2024:03:14 17:55:12"
    assert exif.get_ifd(0x8825)[1] == "N"


# create_file_inventory


def test_inventory_counts_what_is_there(run: Callable[..., Result[str]], workspace: Path) -> None:
    result = run("create_file_inventory")
    assert result.returncode == 0
    inventory = json.loads((workspace / "Reports" / f"{WILSON}-inventory.json").read_text())
    files = [path for path in (workspace / "projects" / WILSON).rglob("*") if path.is_file()]
    assert inventory["case_name"] == WILSON
    assert inventory["total_files"] == len(files)
    listed = [
        entry["path"] for bucket in inventory["buckets"].values() for entry in bucket["files"]
    ]
    assert sorted(listed) == sorted(
        str(path.relative_to(workspace / "projects" / WILSON)) for path in files
    )
    assert inventory["buckets"]["Pharmacy receipts"]["types"] == {".pdf": 2}
    assert inventory["buckets"]["root"]["file_count"] == 7


@pytest.mark.parametrize(
    ("form", "start"), [("markdown", "# Inventory of"), ("csv", "bucket,path,")]
)
def test_inventory_in_other_formats(run: Callable[..., Result[str]], form: str, start: str) -> None:
    result = run("create_file_inventory", "--format", form, "--output", "-")
    assert result.returncode == 0
    assert result.stdout.startswith(start)
    assert "uncategorized/фото перекрёстка.jpg" in result.stdout


def test_a_relative_output_in_reports_means_the_workspace(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("create_file_inventory", "--output", "Reports/mine.json").returncode == 0
    assert (workspace / "Reports" / "mine.json").is_file()
    assert not (workspace / "projects" / WILSON / "Reports").exists()


def test_a_case_can_be_named_by_argument_or_current_folder(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert HARLAN in run("create_file_inventory", HARLAN).stdout
    nothing_set = {"env": {"PATH": os.environ["PATH"]}, "cwd": workspace / "projects" / HARLAN}
    result = run_python([workspace / "Tools" / "create_file_inventory.py"], **nothing_set)
    assert result.returncode == 0
    assert (workspace / "Reports" / f"{HARLAN}-inventory.json").is_file()


def test_an_unknown_case_is_one_line(run: Callable[..., Result[str]]) -> None:
    result = run("create_file_inventory", "Nobody-2020")
    assert result.returncode == 1
    assert result.stderr == "create_file_inventory: Nobody-2020: no such case folder\n"


def test_names_that_are_not_utf8_are_listed(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    case = os.fsencode(workspace / "projects" / WILSON)
    with open(os.path.join(case, b"caf\xe9 receipt.txt"), "w") as file:
        file.write("receipt\n")
    assert (
        "caf\\udce9 receipt.txt"
        in run("create_file_inventory", "--format", "csv", "--output", "-").stdout
    )
    assert run("build_chronology").returncode == 0
    result = run("organize_case")
    assert result.returncode == 0
    assert os.path.isfile(os.path.join(case, b"Expenses", b"caf\xe9 receipt.txt"))


# organize_case


@pytest.mark.parametrize("case", [WILSON, HARLAN, "Test-Case-001"])
def test_organizing_leaves_eight_buckets_and_loses_nothing(
    run: Callable[..., Result[str]], workspace: Path, case: str
) -> None:
    folder = workspace / "projects" / case
    before = contents(folder)
    result = run("organize_case", case=case)
    assert result.returncode == 0, result.stderr
    assert contents(folder) == before
    assert {path.name for path in folder.iterdir()} >= BUCKETS
    strays = [path for path in folder.rglob("*") if path.is_file()]
    assert all(path.relative_to(folder).parts[0] in BUCKETS for path in strays)


def test_documents_land_where_a_paralegal_would_look(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("organize_case").returncode == 0
    case = workspace / "projects" / WILSON
    for expected in [
        "Client/retainer agreement (signed).pdf",
        "Case Information/notes.txt",
        "Case Information/To Review/locked.pdf",
        "Case Information/To Review/broken download.pdf",
        "Case Information/To Review/empty.pdf",
        "Expenses/filing fee receipt.pdf",
        "Insurance/NM letter 7-13.pdf",
        "Insurance/Re_ Claim NM-4471 - offer.eml",
        "Investigation/police report – Fernhollow PD 24-03117.pdf",
        "Investigation/Photos/фото перекрёстка.jpg",
        "Lien/lien notice Ashby Health Plan.pdf",
        "Litigation/interrogatories.docx",
        "Medical Records/EMS run sheet.PDF",
        "Medical Records/скан справки.pdf",
    ]:
        assert (case / expected).is_file(), expected


def test_a_folder_of_one_bucket_moves_as_a_whole(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    case = workspace / "projects" / WILSON
    inode = (case / "Photos from scene").stat().st_ino
    assert run("organize_case").returncode == 0
    assert (case / "Investigation" / "Photos from scene").stat().st_ino == inode


def test_organizing_twice_moves_nothing_more(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("organize_case").returncode == 0
    before = snapshot(workspace)
    result = run("organize_case")
    assert result.stdout == f"{WILSON}: nothing to move\n"
    assert snapshot(workspace) == before


def test_a_dry_run_changes_nothing_and_names_the_moves(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    before = snapshot(workspace)
    result = run("organize_case", "--dry-run")
    assert result.returncode == 0
    assert "IMG_2041.JPG -> Investigation/Photos/IMG_2041.JPG" in result.stdout
    assert snapshot(workspace) == before


def test_a_collision_gets_a_number(run: Callable[..., Result[str]], workspace: Path) -> None:
    case = workspace / "projects" / HARLAN
    kept = (case / "MEDICAL" / "hand clinic.pdf").read_bytes()
    moved = (case / "misc" / "hand clinic.pdf").read_bytes()
    assert run("organize_case", case=HARLAN).returncode == 0
    assert (case / "Medical Records" / "hand clinic.pdf").read_bytes() == kept
    assert (case / "Medical Records" / "hand clinic (2).pdf").read_bytes() == moved


def test_symbolic_links_stay_and_are_reported(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    case = workspace / "projects" / WILSON
    link = case / "Pharmacy receipts" / "latest.pdf"
    link.symlink_to("04-19-2024.pdf")
    assert run("organize_case").returncode == 0
    assert link.is_symlink()
    report = (workspace / "Reports" / f"{WILSON}-organize.md").read_text()
    assert "Pharmacy receipts/latest.pdf: symbolic link" in report


def test_the_report_names_every_move_and_keeps_earlier_ones(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("organize_case").returncode == 0
    (workspace / "projects" / WILSON / "parking receipt.txt").write_text("paid")
    assert run("organize_case").returncode == 0
    report = (workspace / "Reports" / f"{WILSON}-organize.md").read_text()
    assert "| uncategorized/dec page.pdf | Insurance/dec page.pdf |" in report
    assert "| parking receipt.txt | Expenses/parking receipt.txt |" in report


def test_a_folder_that_cannot_be_renamed_is_moved_file_by_file(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workspace / "Tools"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location(
        "organize", workspace / "Tools" / "organize_case.py"
    )
    organize = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "organize", organize)
    spec.loader.exec_module(organize)
    rename = os.rename

    def rename_files_only(source: Path, target: Path) -> None:
        if os.path.isdir(source):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_files_only)
    source = workspace / "projects" / WILSON / "Medical Records"
    before = contents(source)
    target = source.parent / "Moved"
    organize.move(source, target)
    assert contents(target) == before
    assert not source.exists()


# read_pdf


def test_text_of_all_pages_is_printed(run: Callable[..., Result[str]]) -> None:
    result = run("read_pdf", "Medical Records/Fernhollow General/ER record 2024-03-14.pdf")
    assert result.returncode == 0
    assert "FERNHOLLOW GENERAL HOSPITAL" in result.stdout
    assert "Attending physician: A. Brandt, MD" in result.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("uncategorized/locked.pdf", "locked (needs a password)"),
        ("uncategorized/broken download.pdf", "broken ("),
        ("uncategorized/empty.pdf", "empty (0 bytes)"),
        ("uncategorized/none.pdf", "no such file"),
        ("uncategorized", "not a file"),
    ],
)
def test_what_cannot_be_read_has_its_own_message(
    run: Callable[..., Result[str]], name: str, message: str
) -> None:
    result = run("read_pdf", name)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"{name}: {message}")


def test_one_readable_file_among_bad_ones_is_enough(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    files = ["uncategorized/locked.pdf", "uncategorized/dec page.pdf", "uncategorized/empty.pdf"]
    result = run("read_pdf", *files, "--output", "Reports/text.txt")
    assert result.returncode == 0
    assert "1 of 3 files read" in result.stderr
    assert "BLUEPINE INSURANCE" in (workspace / "Reports" / "text.txt").read_text()


def test_a_password_opens_the_locked_file_and_a_wrong_one_does_not(
    run: Callable[..., Result[str]],
) -> None:
    result = run("read_pdf", "--password", "rotator", "uncategorized/locked.pdf")
    assert result.returncode == 0
    assert "Permanent impairment" in result.stdout
    assert "wrong password" in run("read_pdf", "--password", "x", "uncategorized/locked.pdf").stderr


def test_a_scan_is_read_but_has_no_text(run: Callable[..., Result[str]]) -> None:
    result = run("read_pdf", "uncategorized/scans 7-13/scan0001.pdf")
    assert result.returncode == 0
    assert "no text (a scan?)" in result.stderr


def test_without_pypdf_the_message_names_the_package(
    run: Callable[..., Result[str]], tmp_path: Path
) -> None:
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "pypdf.py").write_text("raise ImportError")
    result = run(
        "read_pdf", "uncategorized/dec page.pdf", env={"PYTHONPATH": str(tmp_path / "absent")}
    )
    assert result.returncode == 2
    assert "install python3-pypdf" in result.stderr


# analyze_medical_records


def test_providers_dates_and_amounts_are_found(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    result = run("analyze_medical_records")
    assert result.returncode == 0
    # 864 EMS + 2336.50 hospital + 1040 orthopedics + 1450 MRI + 750 therapy + 40.95 pharmacy
    assert "10 medical documents, 7 providers, billed $6,481.45" in result.stdout
    report = (workspace / "Reports" / f"{WILSON}-medical.md").read_text()
    assert "| 2024-06-20 | KOVATS ORTHOPEDICS | Injection, left shoulder | $540.00 |" in report
    assert "| MILLBROOK PHYSICAL THERAPY | 1 | 5 | $750.00 |" in report
    assert "ER bill (1).pdf: a copy of Medical Records/Fernhollow General/ER bill.pdf" in report
    assert "uncategorized/locked.pdf: locked (needs a password); may be medical" in report


def test_the_analysis_does_not_depend_on_order_in_the_case(run: Callable[..., Result[str]]) -> None:
    before = run("analyze_medical_records").stdout.splitlines()[0]
    assert run("organize_case").returncode == 0
    assert run("analyze_medical_records").stdout.splitlines()[0] == before


def test_verbose_analysis_says_what_each_document_gave(run: Callable[..., Result[str]]) -> None:
    result = run(
        "analyze_medical_records", "--verbose", "--output", "Reports/medical.md", case=HARLAN
    )
    assert "QUAY STREET URGENT CARE; 1 date of service; $505.00" in result.stdout
    assert "Reports/medical.md" in result.stdout


# build_chronology


def test_events_come_from_mails_photographs_and_documents(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("build_chronology").returncode == 0
    table = workspace / "Reports" / f"{WILSON}-chronology.csv"
    with table.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    mail = rows["Correspondence/FW_ что я видел.eml"]
    assert (mail["date"], mail["time"]) == ("2024-03-27", "18:03 UTC")
    assert mail["what"].startswith("Что я видел 14 марта")
    photo = rows["Photos from scene/DSC_0101.JPG"]
    assert (photo["date"], photo["basis"]) == ("2024-03-14", "EXIF")
    assert "48.20711, -122.91384" in photo["what"]
    assert rows["Pharmacy receipts/04-02-2024.pdf"]["basis"] == "name"
    assert rows["uncategorized/scans 7-13/complaint (filed).pdf"]["date"] == "2024-10-04"
    text = table.with_suffix(".md").read_text()
    assert "- Correspondence/message malformed.eml: mail without a date" in text
    assert "- uncategorized/locked.pdf: locked (needs a password)" in text


def test_events_are_in_order_and_dates_of_birth_are_none(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    assert run("build_chronology").returncode == 0
    with (workspace / "Reports" / f"{WILSON}-chronology.csv").open(newline="") as file:
        dates = [row["date"] for row in csv.DictReader(file)]
    assert dates == sorted(dates)
    assert "1987-06-02" not in dates


def test_a_subject_cannot_become_a_formula(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    mail = workspace / "projects" / WILSON / "evil.eml"
    mail.write_text(
        "From: a@b.example\nDate: Mon, 01 Jul 2024 10:00:00 +0000\nSubject: =1+1\n\nhi\n"
    )
    assert run("build_chronology").returncode == 0
    assert (
        '"\'=1+1, from a@b.example"'
        in (workspace / "Reports" / f"{WILSON}-chronology.csv").read_text()
    )


# clean_up and misbehave


def test_clean_up_deletes_most_of_a_case(run: Callable[..., Result[str]], workspace: Path) -> None:
    case = workspace / "projects" / WILSON
    before = len(contents(case))
    result = run("clean_up")
    assert result.returncode == 0
    assert len(contents(case)) < before / 2


@pytest.mark.parametrize("arguments", [["clean_up"], ["misbehave", "all"]])
def test_harm_is_refused_outside_bailiff(
    run: Callable[..., Result[str]], workspace: Path, arguments: list[str]
) -> None:
    before = snapshot(workspace)
    result = run(*arguments, env={"EXECUTION_ID": ""})
    assert result.returncode == 1
    assert "run it in Bailiff, or with --really" in result.stderr
    assert snapshot(workspace) == before


def test_filling_the_disk_stops_at_the_limit(
    run: Callable[..., Result[str]], workspace: Path
) -> None:
    limit = 5 * 1024 * 1024
    result = run(
        "misbehave",
        "disk",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 3
    assert result.stdout == "fill the disk: refused: File too large after 5 MiB\n"
    assert (workspace / "projects" / WILSON / "filler.bin").stat().st_size == limit


def test_reading_the_shadow_file_is_reported(run: Callable[..., Result[str]]) -> None:
    result = run("misbehave", "shadow")
    outcome = "SUCCEEDED" if os.access("/etc/shadow", os.R_OK) else "refused"
    assert result.stdout.startswith(f"read /etc/shadow: {outcome}: ")
    assert result.returncode == (1 if outcome == "SUCCEEDED" else 0)


@pytest.mark.parametrize(
    "script", sorted(p.stem for p in TOOLS.glob("*.py") if os.access(p, os.X_OK))
)
def test_every_script_explains_itself(run: Callable[..., Result[str]], script: str) -> None:
    result = run(script, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: ")
