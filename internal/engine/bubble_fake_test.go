//go:build synctests

package engine

import "time"

// Under this build tag the client library waits in ways that package synctest understands: tests run in fake time,
// with the timeouts of production.
const sessionTimeout, transactionTimeout = 6 * time.Second, 5 * time.Second

// Time costs nothing: each fault gets a cluster of its own, and chaos lasts.
const faultsPerWorld, chaosSteps = 1, 40

// How often epochs change at random.
const epochSwitches = 50

// slack is by how much things may take longer than they should, where time is measured.
const slack = 1
