//go:build race

package feature

const raceDetector = true
