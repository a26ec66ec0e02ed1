"""`labd scan`: which devices there are at serial ports and on hosts, and a lab.yaml for them."""

from labd.scan.found import Candidate, Found
from labd.scan.hosts import ScanError, hosts_of, scan_hosts
from labd.scan.kinds import Kinds
from labd.scan.ports import scan_ports
from labd.scan.propose import propose

__all__ = ["Candidate", "Found", "Kinds", "ScanError", "hosts_of", "propose", "scan_hosts", "scan_ports"]
