// Package external runs a program of its own as a filter: hashicorp/go-plugin
// over gRPC, one bidirectional stream for each SMTP session, octets of the
// message fetched on demand. The protocol is sdk/mtadpb; Go authors import sdk.
//
// The process is supervised: it is started with the pipeline, in an empty
// environment, within limits, spoken to over mutual TLS with keys made for this
// run where it can, and started again when it dies, after a pause that grows.
// While it is down, the step's on_error decides. external.go is the filter,
// process.go keeps it running, run.go is one run of it, child.go its process. What a plugin's manifest does not declare it neither
// sees nor may change.
package external
