// Package config reads the pipeline file: the one YAML file that describes a pipeline from its training data
// to its topics.
//
// One table of fields (spec.go) drives everything that knows the keys of the file: the parser, the linter,
// overrides of single keys, the JSON Schema for editors and the reference in docs/reference. All problems of
// a file are reported at once, each with its line, a caret under the text at fault, and a hint.
//
// The file is untrusted input: its size, depth and number of problems are bounded, it has no anchors,
// aliases, merge keys or tags, and a variable's value can never become YAML.
package config
