#!/usr/bin/env python3
"""The link graph that CMake wrote (cmake/LinkGraph.cmake).

    scripts/link_graph.py tests --without TARGET… FILE      names of the test programs that reach none of the targets
"""
import argparse
import pathlib
import re


class LinkGraph:
    def __init__(self, text):
        # Target -> its folder, with a slash at the end; targets of this tree only.
        self.folders = {}
        self._edges = {}
        for line in text.splitlines():
            target, folder, linked = line.split("\t")
            self.folders[target] = folder + "/"
            self._edges[target] = re.sub(r"\$<LINK_ONLY:([^>]*)>", r"\1", linked).split()

    def links(self, target):
        return self._edges.get(target, [])

    def closure(self, target):
        """Everything `target` reaches, itself included -> one way to it, as text."""
        ways, todo = {target: target}, [target]
        while todo:
            here = todo.pop()
            for linked in self.links(here):
                if linked not in ways:
                    ways[linked] = f"{ways[here]} -> {linked}"
                    todo.append(linked)
        return ways

    def tests(self, without=()):
        return [target for target in self.folders
                if "GTest::gmock_main" in self.links(target) and not self.closure(target).keys() & set(without)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tests"])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--without", action="append", default=[])
    arguments = parser.parse_args()
    print("\n".join(LinkGraph(arguments.file.read_text()).tests(arguments.without)))


if __name__ == "__main__":
    main()
