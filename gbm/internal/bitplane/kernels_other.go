//go:build !amd64

package bitplane

// Kernels returns the kernels that this machine can run, the fastest first.
func Kernels() []Kernel { return []Kernel{Portable()} }
