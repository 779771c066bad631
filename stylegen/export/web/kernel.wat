;; The convolution of the page, in WebAssembly with 128-bit SIMD. kernel.wasm beside it is built from this file by
;; build.py; a test compares both.
;;
;; All images are float32, row by row, and the channels of a pixel are adjacent: [rows, columns, channels].
;; For each output pixel (y, x) and channel c:
;;
;;   out[y, x, c] = sum over i, j, k of image[y + i, x + j, k] * weight[i, j, k, c]
;;
;; The image is padded beforehand, so every pixel that is read exists. Four output pixels and eight output channels
;; are computed at once: eight sums of four numbers each stay in registers. The last four pixels of a row overlap with
;; the four before them where the number of columns is no multiple of four; both give the same result.
;;
;; Requires: columns >= 4; channels is a multiple of 8; rows, in, kh and kw are at least 1.
(module
  (memory (export "memory") 1 32768) ;; 64 KiB to 2 GiB; the page makes it larger as it needs

  (func (export "convolve")
    (param $image i32)      ;; address of the pixel that the first tap of the first output pixel reads
    (param $weight i32)     ;; address of [kh, kw, in, channels]
    (param $out i32)        ;; address of the first output pixel
    (param $rows i32)       ;; output pixels from top to bottom
    (param $columns i32)    ;; output pixels from left to right
    (param $in i32)         ;; channels of the image
    (param $channels i32)   ;; channels of the output
    (param $kh i32)         ;; taps from top to bottom
    (param $kw i32)         ;; taps from left to right
    (param $image_row i32)  ;; bytes from a row of the image to the next
    (param $out_pixel i32)  ;; bytes from an output pixel to the next in its row
    (param $out_row i32)    ;; bytes from an output row to the next

    (local $y i32) (local $x i32) (local $c i32) (local $i i32)
    (local $left i32)       ;; numbers of the present row of taps that are still to be read
    (local $read i32)       ;; address in the image
    (local $taps i32)       ;; address in the weight
    (local $write i32)      ;; address in the output
    (local $pixel i32)      ;; bytes of a pixel of the image, and twice and three times as many
    (local $pixel2 i32) (local $pixel3 i32)
    (local $w0 v128) (local $w1 v128) (local $value v128)
    ;; Sums of pixel 0 to 3, channels 0 to 3 and 4 to 7.
    (local $s00 v128) (local $s01 v128) (local $s10 v128) (local $s11 v128)
    (local $s20 v128) (local $s21 v128) (local $s30 v128) (local $s31 v128)

    (local.set $pixel (i32.shl (local.get $in) (i32.const 2)))
    (local.set $pixel2 (i32.shl (local.get $in) (i32.const 3)))
    (local.set $pixel3 (i32.add (local.get $pixel) (local.get $pixel2)))

    (loop $each_channels
      (local.set $y (i32.const 0))
      (loop $each_row
        (local.set $x (i32.const 0))
        (loop $each_pixels
          (local.set $s00 (v128.const f32x4 0 0 0 0))
          (local.set $s01 (local.get $s00))
          (local.set $s10 (local.get $s00))
          (local.set $s11 (local.get $s00))
          (local.set $s20 (local.get $s00))
          (local.set $s21 (local.get $s00))
          (local.set $s30 (local.get $s00))
          (local.set $s31 (local.get $s00))
          (local.set $taps (i32.add (local.get $weight) (i32.shl (local.get $c) (i32.const 2))))
          (local.set $i (i32.const 0))
          (loop $each_tap_row
            (local.set $read
              (i32.add
                (local.get $image)
                (i32.add
                  (i32.mul (i32.add (local.get $y) (local.get $i)) (local.get $image_row))
                  (i32.mul (local.get $x) (local.get $pixel)))))
            ;; The pixels of a row of taps are adjacent, so all their numbers are read in one loop.
            (local.set $left (i32.mul (local.get $kw) (local.get $in)))
            (loop $each_number
              (local.set $w0 (v128.load (local.get $taps)))
              (local.set $w1 (v128.load offset=16 (local.get $taps)))
              (local.set $value (v128.load32_splat (local.get $read)))
              (local.set $s00 (f32x4.add (local.get $s00) (f32x4.mul (local.get $value) (local.get $w0))))
              (local.set $s01 (f32x4.add (local.get $s01) (f32x4.mul (local.get $value) (local.get $w1))))
              (local.set $value (v128.load32_splat (i32.add (local.get $read) (local.get $pixel))))
              (local.set $s10 (f32x4.add (local.get $s10) (f32x4.mul (local.get $value) (local.get $w0))))
              (local.set $s11 (f32x4.add (local.get $s11) (f32x4.mul (local.get $value) (local.get $w1))))
              (local.set $value (v128.load32_splat (i32.add (local.get $read) (local.get $pixel2))))
              (local.set $s20 (f32x4.add (local.get $s20) (f32x4.mul (local.get $value) (local.get $w0))))
              (local.set $s21 (f32x4.add (local.get $s21) (f32x4.mul (local.get $value) (local.get $w1))))
              (local.set $value (v128.load32_splat (i32.add (local.get $read) (local.get $pixel3))))
              (local.set $s30 (f32x4.add (local.get $s30) (f32x4.mul (local.get $value) (local.get $w0))))
              (local.set $s31 (f32x4.add (local.get $s31) (f32x4.mul (local.get $value) (local.get $w1))))
              (local.set $read (i32.add (local.get $read) (i32.const 4)))
              (local.set $taps (i32.add (local.get $taps) (i32.shl (local.get $channels) (i32.const 2))))
              (br_if $each_number (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
            (br_if $each_tap_row
              (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $kh))))

          (local.set $write
            (i32.add
              (i32.add (local.get $out) (i32.shl (local.get $c) (i32.const 2)))
              (i32.add
                (i32.mul (local.get $y) (local.get $out_row))
                (i32.mul (local.get $x) (local.get $out_pixel)))))
          (v128.store (local.get $write) (local.get $s00))
          (v128.store offset=16 (local.get $write) (local.get $s01))
          (local.set $write (i32.add (local.get $write) (local.get $out_pixel)))
          (v128.store (local.get $write) (local.get $s10))
          (v128.store offset=16 (local.get $write) (local.get $s11))
          (local.set $write (i32.add (local.get $write) (local.get $out_pixel)))
          (v128.store (local.get $write) (local.get $s20))
          (v128.store offset=16 (local.get $write) (local.get $s21))
          (local.set $write (i32.add (local.get $write) (local.get $out_pixel)))
          (v128.store (local.get $write) (local.get $s30))
          (v128.store offset=16 (local.get $write) (local.get $s31))

          ;; On to the next four pixels, or to the last four, which may overlap.
          (local.set $x (i32.add (local.get $x) (i32.const 4)))
          (if (i32.and
                (i32.lt_u (local.get $x) (local.get $columns))
                (i32.gt_u (i32.add (local.get $x) (i32.const 4)) (local.get $columns)))
            (then (local.set $x (i32.sub (local.get $columns) (i32.const 4)))))
          (br_if $each_pixels (i32.lt_u (local.get $x) (local.get $columns))))
        (br_if $each_row
          (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $rows))))
      (br_if $each_channels
        (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 8))) (local.get $channels))))))
