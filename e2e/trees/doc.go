// Package trees has the tests of models that other systems have trained, with those systems from PyPI.
package trees
