#!/usr/bin/env python3
"""Reports of programs that passed, failed, crashed, leaked and skipped, and what is counted of them."""
import pathlib
import tempfile
import unittest

import test_report

CTEST = '<testsuite><testcase name="{name}" status="{status}"/></testsuite>'
CASE = '<testcase classname="S" name="{name}" status="{status}" result="{result}">{inner}</testcase>'


class TestReportTest(unittest.TestCase):
    def count(self, status, *cases):
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "short.junit").write_text(CTEST.format(name="a_test", status=status))
            (directory / "short").mkdir()
            if cases:
                (directory / "short" / "a_test.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
            return test_report.count(directory)

    PASSED = CASE.format(name="good", status="run", result="completed", inner="")
    FAILED = CASE.format(name="bad", status="run", result="completed", inner='<failure message="no"/>')
    SKIPPED = CASE.format(name="skipped", status="run", result="skipped", inner="<skipped/>")
    DISABLED = CASE.format(name="off", status="notrun", result="suppressed", inner="")

    def test_cases_count(self):
        self.assertEqual(self.count("run", self.PASSED, self.PASSED), (2, [], 0))
        self.assertEqual(self.count("fail", self.PASSED, self.FAILED), (1, ["S.bad"], 0))
        self.assertEqual(self.count("run", self.PASSED, self.SKIPPED, self.DISABLED), (1, [], 2))

    def test_a_program_without_cases_counts_as_one(self):
        self.assertEqual(self.count("run"), (1, [], 0))
        self.assertEqual(self.count("fail"), (0, ["a_test"], 0))

    def test_a_crash_or_a_leak_after_the_cases_is_a_failure(self):
        self.assertEqual(self.count("fail", self.PASSED), (1, ["a_test"], 0))


if __name__ == "__main__":
    unittest.main()
