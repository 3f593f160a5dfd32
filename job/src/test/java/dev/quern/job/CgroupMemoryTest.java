package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.job.CgroupMemory.Usage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Memory limits of control groups, on trees of files as Linux, Docker and Kubernetes lay them out.
 */
class CgroupMemoryTest {

  private static final String MOUNT_2 =
      "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw";
  private static final String MOUNT_1 =
      "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";

  @TempDir Path root;

  @Test
  void theSmallestLimitOnTheWayUpCounts() throws IOException {
    process("0::/kubepods/pod7/container", MOUNT_2);
    file("sys/fs/cgroup/kubepods/memory.max", "8000");
    file("sys/fs/cgroup/kubepods/memory.current", "4444");
    file("sys/fs/cgroup/kubepods/pod7/memory.max", "2000");
    file("sys/fs/cgroup/kubepods/pod7/memory.current", "1234");
    file("sys/fs/cgroup/kubepods/pod7/container/memory.max", "max");
    file("sys/fs/cgroup/kubepods/pod7/container/memory.current", "999");
    assertThat(usage()).isEqualTo(new Usage(2000L, 1234L));
  }

  @Test
  void withoutALimitTheUseOfTheInnermostGroupIsKnown() throws IOException {
    process("0::/user.slice", MOUNT_2);
    file("sys/fs/cgroup/user.slice/memory.max", "max");
    file("sys/fs/cgroup/user.slice/memory.current", "77");
    assertThat(usage()).isEqualTo(new Usage(null, 77L));
  }

  @Test
  void aContainersNamespaceShowsItsGroupAsTheRoot() throws IOException {
    process("0::/", MOUNT_2);
    file("sys/fs/cgroup/memory.max", "536870912");
    file("sys/fs/cgroup/memory.current", "1048576");
    assertThat(usage()).isEqualTo(new Usage(536870912L, 1048576L));
  }

  @Test
  void theRootGroupOfAMachineHasNothing() throws IOException {
    process("0::/", MOUNT_2);
    file("sys/fs/cgroup/cgroup.procs", "1");
    assertThat(usage()).isEqualTo(Usage.NONE);
  }

  @Test
  void version1() throws IOException {
    process("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/x", MOUNT_1);
    file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
    file("sys/fs/cgroup/memory/memory.usage_in_bytes", "5");
    file("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "1000");
    file("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "600");
    assertThat(usage()).isEqualTo(new Usage(1000L, 600L));
  }

  @Test
  void version1WithoutALimit() throws IOException {
    process("4:memory:/", MOUNT_1);
    file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
    file("sys/fs/cgroup/memory/memory.usage_in_bytes", "5");
    assertThat(usage()).isEqualTo(new Usage(null, 5L));
  }

  @Test
  void inAContainerWithTheHostsPathTheMountIsTheGroup() throws IOException {
    process(
        "4:memory:/docker/abc",
        "36 25 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory");
    file("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000");
    file("sys/fs/cgroup/memory/memory.usage_in_bytes", "600");
    assertThat(usage()).isEqualTo(new Usage(1000L, 600L));
    // The same with a mount that shows another root than the path begins with.
    process("4:memory:/docker/abc", MOUNT_1);
    assertThat(usage()).isEqualTo(new Usage(1000L, 600L));
  }

  @Test
  void aHybridSystemHasMemoryUnderVersion1() throws IOException {
    process(
        "4:memory:/x\n0::/x",
        "29 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + MOUNT_1);
    file("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "42");
    file("sys/fs/cgroup/memory/x/memory.usage_in_bytes", "41");
    assertThat(usage()).isEqualTo(new Usage(42L, 41L));
  }

  @Test
  void aPathThatLeavesTheMountIsNotFollowed() throws IOException {
    process("0::/../../../outside", MOUNT_2);
    file("outside/memory.max", "1");
    file("sys/fs/cgroup/memory.max", "2");
    file("sys/fs/cgroup/memory.current", "1");
    assertThat(usage()).isEqualTo(new Usage(2L, 1L));
  }

  @Test
  void elsewhereThereAreNone() throws IOException {
    assertThat(CgroupMemory.find(root)).isEmpty();
    process("", "");
    assertThat(CgroupMemory.find(root)).isEmpty();
    process("garbage", "garbage");
    assertThat(CgroupMemory.find(root)).isEmpty();
  }

  @Test
  void thisMachine() {
    Usage usage = CgroupMemory.ofThisProcess().map(CgroupMemory::read).orElse(Usage.NONE);
    if (usage.limit() != null) {
      assertThat(usage.limit()).isPositive();
    }
    if (usage.use() != null) {
      assertThat(usage.use()).isNotNegative();
    }
  }

  private Usage usage() {
    return CgroupMemory.find(root).orElseThrow().read();
  }

  private void process(String groups, String mounts) throws IOException {
    file("proc/self/cgroup", groups);
    file("proc/self/mountinfo", "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n" + mounts);
  }

  private void file(String path, String content) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content + "\n");
  }
}
