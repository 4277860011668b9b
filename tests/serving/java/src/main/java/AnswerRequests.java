import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.tensorflow.Result;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.Tensor;
import org.tensorflow.ndarray.NdArrays;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.ndarray.buffer.DataBuffers;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TInt64;
import org.tensorflow.types.TString;

/**
 * Answers requests by a SavedModel.
 *
 * <p>Arguments: the model's folder, a folder of requests, a folder for the answers. A request is a
 * folder that holds `signature` (its name) and one file an input, named {@code
 * <input>.<float32|int64|string>.<shape, such as 2x40x3>}: little-endian numbers, or of strings each
 * one's length (int64) and bytes. An answer is a folder of the same form; or of one file `error`.
 */
public final class AnswerRequests {
  public static void main(String[] arguments) throws IOException {
    try (SavedModelBundle model = SavedModelBundle.load(arguments[0], "serve");
        var requests = Files.list(Path.of(arguments[1]))) {
      for (Path request : requests.sorted().toList()) {
        Path answer = Path.of(arguments[2]).resolve(request.getFileName());
        Files.createDirectories(answer);
        try {
          answer(model, request, answer);
        } catch (RuntimeException error) {
          Files.writeString(answer.resolve("error"), String.valueOf(error.getMessage()));
        }
      }
    }
  }

  private static void answer(SavedModelBundle model, Path request, Path answer)
      throws IOException {
    Map<String, Tensor> inputs = new LinkedHashMap<>();
    String signature = Files.readString(request.resolve("signature"));
    try (var files = Files.list(request)) {
      for (Path file : files.sorted().toList()) {
        String[] named = file.getFileName().toString().split("\\.");
        if (named.length == 3) {
          inputs.put(named[0], read(file, named[1], shape(named[2])));
        }
      }
    }
    try (Result result = model.function(signature).call(inputs)) {
      for (Map.Entry<String, Tensor> output : result) {
        write(answer, output.getKey(), output.getValue());
      }
    }
    inputs.values().forEach(Tensor::close);
  }

  private static Shape shape(String text) {
    List<Long> sizes = new ArrayList<>();
    for (String size : text.split("x")) {
      sizes.add(Long.parseLong(size));
    }
    return Shape.of(sizes.stream().mapToLong(Long::longValue).toArray());
  }

  private static Tensor read(Path file, String type, Shape shape) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    switch (type) {
      case "float32":
        float[] floats = new float[bytes.remaining() / 4];
        bytes.asFloatBuffer().get(floats);
        return TFloat32.tensorOf(shape, DataBuffers.of(floats));
      case "int64":
        long[] longs = new long[bytes.remaining() / 8];
        bytes.asLongBuffer().get(longs);
        return TInt64.tensorOf(shape, DataBuffers.of(longs));
      case "string":
        var strings = NdArrays.ofObjects(byte[].class, shape);
        for (long i = 0; i < shape.size(); i++) {
          byte[] one = new byte[(int) bytes.getLong()];
          bytes.get(one);
          strings.setObject(one, i);
        }
        return TString.tensorOfBytes(strings);
      default:
        throw new IllegalArgumentException("no type " + type);
    }
  }

  private static void write(Path folder, String name, Tensor tensor) throws IOException {
    StringBuilder shape = new StringBuilder();
    for (long size : tensor.shape().asArray()) {
      shape.append(shape.length() == 0 ? "" : "x").append(size);
    }
    boolean floats = tensor instanceof TFloat32;
    String type = floats ? "float32" : "int64";
    Path file = folder.resolve(name + "." + type + "." + shape);
    int size = floats ? 4 : 8;
    ByteBuffer bytes =
        ByteBuffer.allocate((int) tensor.shape().size() * size).order(ByteOrder.LITTLE_ENDIAN);
    if (floats) {
      ((TFloat32) tensor).scalars().forEach(value -> bytes.putFloat(value.getFloat()));
    } else {
      ((TInt64) tensor).scalars().forEach(value -> bytes.putLong(value.getLong()));
    }
    try (var out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file)))) {
      out.write(bytes.array());
    }
  }
}
