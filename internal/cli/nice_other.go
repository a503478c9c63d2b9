//go:build !linux && !darwin && !freebsd

package cli

import "errors"

// niceness does nothing here.
func niceness(int) error { return nil }

var errNoShare = errors.New("it cannot be told here how full a disk is")

// freeShare cannot be told here.
func freeShare(string) (float64, error) { return 0, errNoShare }
