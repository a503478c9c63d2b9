//go:build !windows

package durable

const canSyncDir = true
