// Package model holds the model bundle: one file with everything that makes a prediction and everything that
// says where the model comes from.
//
// The bytes of a bundle depend on its content alone, so that the same training gives the same file, and the
// same SHA-256, on every machine. docs/formats/bundle.md describes the file byte for byte.
package model
