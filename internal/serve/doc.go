// Package serve is the driver of the data path for requests: it predicts records, or rows of model inputs, that many requests bring at
// once, with the models that a registry has promoted.
//
// What waits is put into batches whatever request it came with, and a request gets its rows back in its order. There are as many workers
// as processors, and a worker that is idle takes what waits at once. A prediction does not depend on the batch that its row was in.
//
// A model is served in versions. Without one, a request gets the version that is promoted: [Models] looks at the registry again and
// again, and goes over to another version between two requests. A request keeps the version that it began with.
package serve
