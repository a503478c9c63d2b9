// Package lint holds the rules of this repository that a test can check.
package lint
