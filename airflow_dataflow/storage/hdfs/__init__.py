"""HDFS: one file system over two ways to the data, Hadoop's own protocol (hdfs-native) and WebHDFS (HdfsCLI)."""
