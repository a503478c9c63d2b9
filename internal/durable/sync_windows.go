package durable

// Windows has no way to flush a directory; NTFS journals its names.
const canSyncDir = false
