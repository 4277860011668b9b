"""Apache Flink for the pipeline's Beam work: the job server's build, a cluster, and its workers."""
