// Package api has the routes of millrace serve: POST /predict, the Open Inference Protocol, health, metrics, and the description of all
// of them. It turns requests into records or inputs for package serve, and what comes of these into answers; who may ask, and how much,
// is for package server.
package api
