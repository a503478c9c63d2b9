//go:build !race

package feature

const raceDetector = false
