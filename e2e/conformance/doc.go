// Package conformance has the Python clients of Triton and KServe, unchanged, talk to millrace serve: make conformance.
package conformance
