// Package letter reads the dead letters of a pipeline, and replays them: writes the records back to where they came from,
// each exactly once.
package letter
