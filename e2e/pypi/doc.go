// Package pypi makes the Python environments of tests that run real clients and servers written in Python, from
// packages with pinned versions. They lie in the repository's bin folder.
package pypi
