#!/usr/bin/env python3
"""Prints what tests measured, counts what ctest ran and closes with one line, `N passed, N failed`.

    scripts/test_report.py DIRECTORY

DIRECTORY holds NAME.junit (of ctest) and NAME/ (the XML of its GoogleTest programs). A program that wrote XML counts by its test
cases; one that wrote none, or that failed although no case did (a crash, a leak, a time-out), counts as one. What a test measured is what it gave to RecordProperty.
"""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def count_cases(path):
    """(passed, failed names, skipped) of one GoogleTest program; None if it did not live to write its XML."""
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    passed, failed, skipped = 0, [], 0
    for case in root.iter("testcase"):
        if case.find("failure") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        elif case.get("result") in ("skipped", "suppressed") or case.get("status") == "notrun":
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def count(directory):
    passed, failed, skipped = 0, [], 0
    for junit in sorted(directory.glob("*.junit")):
        for program in ElementTree.parse(junit).getroot().iter("testcase"):
            name, succeeded = program.get("name"), program.get("status") == "run"
            cases = count_cases(directory / junit.stem / f"{name}.xml")
            if cases is None:
                cases = (1, [], 0) if succeeded else (0, [name], 0)
            elif not succeeded and not cases[1]:
                cases = (cases[0], [name], cases[2])
            passed += cases[0]
            failed += cases[1]
            skipped += cases[2]
    return passed, failed, skipped


def measurements(directory):
    for path in sorted(directory.glob("*/*.xml")):
        try:
            root = ElementTree.parse(path).getroot()
        except ElementTree.ParseError:
            continue
        for case in root.iter("testcase"):
            figures = [f"{each.get('name')} {each.get('value')}" for each in case.iter("property")]
            if figures:
                yield f"{path.stem}: {case.get('classname')}.{case.get('name')}: {', '.join(figures)}"


def main():
    directory = pathlib.Path(sys.argv[1])
    for line in measurements(directory):
        print(line)
    passed, failed, skipped = count(directory)
    for name in failed:
        print(f"FAILED {name}")
    print(f"{passed} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
