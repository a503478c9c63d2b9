// Package remote has streams predicted by models of scikit-learn on real servers, MLServer's and MLflow's: make remote.
package remote
